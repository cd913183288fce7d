"""Every public function answers a wrong argument in one line; what fits passes through."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import pytest
import torch

import interp
import patching
import probes
import studies
from interp._aliases import formerly
from interp._doors import checked
from interp.arguments import at_least_one
from interp.sites import Kind, Site

PACKAGES = (interp, probes, patching, patching.circuits, studies)

#: Run as a user would, without the shape checks of the tests.
WALK = """
import inspect, interp, patching, probes, studies
class Wrong:
    pass
def called(package):
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            made = [n for n, v in vars(value).items() if isinstance(v, classmethod) and n[0] != "_"]
            yield from ((f"{name}.{n}", getattr(value, n)) for n in made)
asked = 0
for package in (interp, probes, patching, patching.circuits, studies):
    for name, function in called(package):
        needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty
                  and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        for wrong in (Wrong(), [Wrong()], 3.5, "no such thing", None, -1, {}):
            try:
                function(**{p.name: wrong for p in needed})
            except ValueError as error:
                said = str(error)
                assert said and "\\n" not in said, (name, wrong, said)
                if isinstance(wrong, Wrong):
                    assert "expected" in said and "Wrong" in said, (name, said)
                asked += 1
            except FileNotFoundError:
                pass
print(asked)
"""


def test_every_public_function_answers_wrong_arguments_in_one_line():
    here = Path(__file__).resolve().parent.parent
    ran = subprocess.run([sys.executable, "-c", WALK], cwd=here, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-1500:]
    functions = [
        name
        for package in PACKAGES
        for name in package.__all__
        if inspect.isfunction(getattr(package, name))
    ]
    assert int(ran.stdout) > 3 * len(functions) > 100


#: What users build by hand: wrong fields are named, and the rest of a right one changed by one.
BUILD = """
import interp, patching, torch
site, vector = interp.Site("resid_pre", 1), torch.ones(3)
ids = torch.tensor([[1, 2]])
import pandas as pd
fact = interp.Fact("Oz", "far", "Oz")
ask = ("{subject} is",)
prompts = interp.Examples(ids, ids > 0, ("a",), ("a",), {"last": torch.tensor([[1, 2]])}, ("A",))
class Reads:
    device, context = "cpu", None
    def tokenizer(text, **how):
        return type("Ids", (), {"input_ids": [1]})
made = [
    lambda wrong: interp.Direction(site, wrong), lambda wrong: interp.Subspace(site, wrong),
    lambda wrong: interp.Activations(site, wrong, ("a",)), lambda wrong: interp.Evidence(wrong),
    lambda wrong: interp.ModelPair(wrong, wrong), lambda wrong: patching.Parameters(wrong),
    lambda wrong: interp.Thresholds(low=wrong), lambda wrong: interp.Contrast(*[wrong] * 4),
    lambda wrong: interp.Examples(wrong, vector, ("a",), ("a",), {}, ("A",)),
    lambda wrong: interp.Examples.from_text(wrong, ["a"]),
    lambda wrong: interp.Examples.from_text(Reads, ["a"], suffixes=[wrong and [wrong]]),
    prompts.position, prompts.span_mask,
    lambda wrong: interp.Contrast.from_text(wrong, ["a"], ["b"], ["c"], ["d"]),
    lambda wrong: interp.FactSet("x", wrong, (fact,), "{subject} is {answer}.", "own"),
    lambda wrong: interp.FactSet("x", ask, wrong, "{subject} is {answer}.", "own"),
    lambda wrong: interp.EntityAttributes("x", wrong, ("c",), ("a",), ask, "own"),
    lambda wrong: interp.EntityAttributes("x", ("a",), ("c",), ("a",), wrong, "own"),
    lambda wrong: interp.Outcomes(wrong), lambda wrong: interp.Outcomes(pd.DataFrame(), wrong),
    lambda wrong: patching.Resample(vector[None], wrong and "x"),
    lambda wrong: patching.Add(torch.tensor([1.0, float("nan")])),
]
for make in made:
    for wrong in ("text", site, None, [1]):
        try:
            make(wrong)
        except ValueError as error:
            assert "expected" in str(error) and "\\n" not in str(error), error
        else:
            raise AssertionError(wrong)
for wrong in ("text", site, None):
    try:
        prompts.subset(wrong)
    except ValueError as error:
        assert "rows" in str(error)
    else:
        raise AssertionError(wrong)
assert interp.Direction(site, vector).vector.norm().isclose(torch.tensor(1.0))
listed = interp.FactSet("x", list(ask), [fact], "{subject} is {answer}.", "own")
assert listed.templates == ask and listed.facts == (fact,), "a list stands for a tuple"
padded = torch.full((1, 2, 3), float("nan"))
padded[0, 0] = 1.0
assert patching.Add(padded).tensors["vector"] is padded, "padding is no number, and is not written"
assert patching.Resample(vector[None], [0]).donor.tolist() == [0]
everywhere = torch.ones(2, 3, dtype=torch.bool)
for make, told in (
    (lambda: patching.Edit("blocks.1.attn.hook_z", everywhere, patching.Zero()), "Site('z', 1)"),
    (lambda: patching.Edit(site, everywhere, patching.Zero), "must be callable"),
    (lambda: interp.figures.patch_grid(pd.DataFrame()), "a grid is drawn from Evidence"),
    (
        lambda: patching.circuits.Circuit.from_names(
            patching.circuits.Graph(1, 1, 1), [], {"input->m0": "high"}
        ),
        "scores got dict",
    ),
):
    try:
        make()
    except ValueError as error:
        assert told in str(error), error
    else:
        raise AssertionError(told)
"""


def test_what_users_build_by_hand_is_held_to_its_fields():
    here = Path(__file__).resolve().parent.parent
    ran = subprocess.run([sys.executable, "-c", BUILD], cwd=here, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-1500:]


def test_of_words_that_are_offered_all_are_told():
    def choose(word: Literal["one", "two"]) -> str:
        return word

    assert checked(choose)("two") == "two"
    with pytest.raises(ValueError, match="got str 'three'; expected one of 'one', 'two'"):
        checked(choose)("three")


def test_there_is_at_least_one_of_what_is_counted():
    for wrong in (0, -1, 1.5, "2"):
        with pytest.raises(ValueError, match="batch_size got .*; expected a whole number"):
            at_least_one("batch_size", wrong)
    assert at_least_one("top", 3) == 3


def test_a_seed_counts_from_zero():
    def draw(seed: int = 0) -> int:
        return seed

    assert [checked(draw)(), checked(draw)(3)] == [0, 3]
    with pytest.raises(ValueError, match="draw: seed got -1; expected 0 or more"):
        checked(draw)(-1)


def test_a_former_name_of_an_argument_is_understood_at_the_door():
    @checked
    @formerly(tall="height")
    def area(width: float, height: float = 1.0) -> float:
        return width * height

    assert area(3.0, tall=2.0) == area(3.0, height=2.0) == 6.0
    with pytest.raises(ValueError, match="height got str 'x'; expected float"):
        area(3.0, tall="x")
    with pytest.raises(TypeError, match="tall is the former name of height"):
        area(3.0, tall=1.0, height=2.0)
    with pytest.raises(TypeError, match="depth"):
        area(3.0, depth=2.0)


def test_too_many_or_too_few_arguments_are_answered_with_how_to_call():
    @checked
    def area(width: float, height: float = 1.0, *, unit: str = "m") -> float:
        return width * height

    for args, given, wrong in (
        ((1.0, 2.0, "m"), {}, "too many positional arguments"),
        ((), {"height": 2.0}, "missing a required argument: 'width'"),
        ((1.0,), {"depth": 2.0}, "unexpected keyword argument 'depth'"),
    ):
        with pytest.raises(TypeError) as refused:
            area(*args, **given)
        told = str(refused.value)
        assert told.startswith("area: ") and wrong in told
        assert told.endswith("expected area(width, height=1.0, *, unit='m')")
    assert area(3.0, 2.0, unit="m") == 6.0, "the control: what fits passes"
    with pytest.raises(TypeError, match=r"^Fact: missing .* 'answer'; expected Fact\(subject, answer"):
        checked(interp.Fact.__init__)(object(), "Oz")


class Options(TypedDict, total=False):
    """What several functions take."""

    word: Literal["mean", "zero"]
    size: int


def test_options_that_functions_share_are_arguments_of_each():
    @checked
    def asked(one: int, **options: Unpack[Options]) -> object:
        return options

    assert asked(1, word="zero") == {"word": "zero"}, "what is left out stays out"
    assert asked(1) == {}
    with pytest.raises(TypeError) as refused:
        asked(1, sizes=2)
    told = str(refused.value)
    assert "'sizes'" in told and told.endswith("expected asked(one, *, word=..., size=...)")
    with pytest.raises(ValueError, match="asked: word got .*; expected one of 'mean', 'zero'"):
        asked(1, word="no such")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="asked: size got .*; expected"):
        asked(1, size="2")  # pyright: ignore[reportArgumentType]


def test_a_wrong_kind_is_answered_with_what_makes_the_right_one_and_where_help_is():
    with pytest.raises(ValueError) as refused:
        patching.patch_sites(object.__new__(interp.Model), ("a", "b"), (), print)
    told = str(refused.value)
    assert "expected Contrast, which interp.Contrast.from_text makes" in told
    assert told.endswith("see help(patching.patch_sites)"), "and not where the function is defined"


def test_names_of_hooks_stand_for_sites_alone_in_lists_and_written_together():
    name, site = "blocks.1.hook_mlp_out", Site(Kind.MLP_OUT, 1)

    @checked
    def places(sites: Site | tuple[Site, ...] | Sequence[Site | tuple[Site, ...]]) -> object:
        return sites

    assert places(name) == site and places((name, site)) == (site, site)
    assert places([name, site]) == [site, site] and places([(name, name)]) == [(site, site)]
    for wrong in ("mlp_out", [name, "mlp_out"], [3]):
        with pytest.raises(ValueError, match="sites got .*; expected"):
            places(wrong)


def test_a_list_stands_for_a_tuple_of_any_length_only():
    @checked
    def both(many: tuple[str, ...] = (), two: tuple[int, int] = (0, 0)) -> object:
        return many, two

    assert both(["a", "b"]) == (("a", "b"), (0, 0)) and both(two=(1, 2))[1] == (1, 2)
    for wrong in ({"many": [1]}, {"many": "ab"}, {"two": [1, 2]}):
        with pytest.raises(ValueError, match="expected tuple"):
            both(**wrong)


def test_an_optional_argument_of_the_wrong_kind_is_named():
    for call in (
        lambda: interp.boundary("3", 4),
        lambda: interp.load_model("organism-base", device=3),
        lambda: probes.accuracy(interp.Evidence.build([1.0], unit="accuracy"), level="high"),
        lambda: interp.load_pair(None, "x"),
    ):
        with pytest.raises(ValueError, match=r"got .*; expected .*; see help\(") as refused:
            call()
        assert "\n" not in str(refused.value)


def test_what_fits_passes_and_a_text_is_never_several():
    @checked
    def several(names: list[str], number: float = 0.0, *rest: object, wanted: int | None = None) -> str:
        return f"{names} {number} {rest} {wanted}"

    assert several(["a"], 2, "more", wanted=1) == "['a'] 2 ('more',) 1"
    assert several.__doc__ is None and several.__name__ == "several"
    for wrong in ({"names": "a"}, {"names": [1]}, {"names": ["a"], "number": "2"},
                  {"names": ["a"], "wanted": 1.5}):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            several(**wrong)
    assert interp.collect is interp.collect


def test_prompts_on_another_device_than_the_model_are_refused_by_name(monkeypatch: pytest.MonkeyPatch):
    model = interp.load_model("organism-base")
    facts = interp.load_facts("world")
    sides = zip(facts.prompts(0)[:2], facts.answers[:2], strict=True)
    (clean, answer), (corrupted, foil) = sides
    contrast = interp.Contrast.from_text(model, [clean], [corrupted], [answer], [foil])
    moved = contrast.to("cpu")
    assert moved.device == model.device
    assert torch.equal(moved.clean.spans["last"], contrast.clean.spans["last"])
    metric, sites = interp.logit_difference(contrast), [Site(Kind.RESID_PRE, 1)]
    calls = {
        "examples": lambda: interp.collect(model, moved.clean, sites),
        "contrast": lambda: patching.patch_sites(model, moved, sites, metric),
    }
    for call in calls.values():
        call()
    # As if the model lay on a GPU.
    monkeypatch.setattr(type(model), "device", property(lambda _: torch.device("cuda", 0)))
    for name, call in calls.items():
        with pytest.raises(ValueError, match=rf"{name} got prompts on cpu for a model on cuda:0"):
            call()
