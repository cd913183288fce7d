"""Two records are compared: what is gone or moved breaks a promise, what is new does not."""

from __future__ import annotations

import copy

import pytest

from benchmarks.record import differences, key_paths, public_names

OLD = {
    "names": {"interp": ["collect", "judge"]},
    "verdict": {"where": "upper", "sentence": "so it is", "share": {"low": 0.5}, "items": [{"n": 1}]},
    "grid": [["patched", 0, 1, 0.25]],
}


def changed(path: tuple, value: object) -> dict:
    """The record with one entry replaced, or taken away where the value is None."""
    new = copy.deepcopy(OLD)
    place = new
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return new


def test_the_same_record_differs_in_nothing():
    assert differences(OLD, OLD) == ([], [])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("names", "interp"), ["collect", "judge", "steer"]),
        (("verdict", "extra"), 3.0),
        (("verdict", "share", "low"), 0.500001),
        (("grid", 0, 3), 0.250009),
    ],
)
def test_what_is_new_or_within_tolerance_breaks_nothing(path, value):
    assert differences(OLD, changed(path, value)) == ([], [])


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("names", "interp"), ["judge"], "interp.collect is gone"),
        (("verdict", "share"), None, "the key share.low of verdict.json is gone"),
        (("verdict", "share", "low"), 0.50002, "verdict share.low: 0.5 is now 0.50002"),
        (("verdict", "where"), "lower", "verdict where: 'upper' is now 'lower'"),
        (("verdict", "items", 0, "n"), True, "verdict items[0].n: 1 is now True"),
        (("grid", 0, 3), 0.2501, "grid [0][3]: 0.25 is now 0.2501"),
        (("grid", 0, 0), "clean", "grid [0][0]: 'patched' is now 'clean'"),
    ],
)
def test_what_is_gone_or_moved_is_named(path, value, line):
    broken, _ = differences(OLD, changed(path, value))
    assert line in broken


def test_other_texts_are_listed_apart():
    broken, reworded = differences(OLD, changed(("verdict", "sentence"), "it is so"))
    assert broken == [] and reworded == ["verdict sentence: 'so it is' is now 'it is so'"]


def test_keys_inside_lists_share_a_path():
    assert key_paths(OLD["verdict"]) == {
        "where",
        "sentence",
        "share",
        "share.low",
        "items",
        "items[].n",
    }


def test_the_public_names_of_today_are_those_of_the_packages():
    names = public_names()
    assert set(names) == {"interp", "probes", "patching", "studies"}
    assert {"compare", "know", "recall"} <= set(names["studies"])
