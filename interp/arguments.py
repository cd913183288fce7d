"""What callers may write for short: one value where several are meant, and one line for the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from interp.sites import Site


def numbers(name: str, given: Any) -> list[float]:
    """One number or several, as a list.

    Raises:
        ValueError: if they are no numbers.
    """
    several = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    try:
        found = [float(one) for one in several]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} got {said(given)}; expected a number, or several") from error
    if not found:
        raise ValueError(f"{name} got none; expected at least one number")
    return found


def at_least_one(name: str, given: Any) -> int:
    """A whole number of things, of which there must be some.

    Raises:
        ValueError: if it is below one or no whole number.
    """
    if not hasattr(given, "__index__") or int(given) < 1:
        raise ValueError(f"{name} got {said(given)}; expected a whole number of 1 or more")
    return int(given)


def reader_of(model: Any) -> Any:
    """The tokenizer of a model.

    Raises:
        ValueError: if it is no model.
    """
    if not hasattr(model, "tokenizer"):
        raise ValueError(f"model got {said(model)}; expected a Model, as load_model gives")
    return model.tokenizer


def sites_of(given: Any) -> list[Any]:
    """One site or several, as a list; a tuple is one place whose sites are written together.

    Raises:
        ValueError: if something else is among them.
    """
    several = [given] if isinstance(given, Site | tuple) else given
    if isinstance(several, str) or not isinstance(several, Iterable):
        raise ValueError(
            f"sites got {said(given)}; expected a Site like Site('resid_pre', 3), or several"
        )
    several = list(several)
    for one in several:
        for site in one if isinstance(one, tuple) else (one,):
            if not isinstance(site, Site):
                raise ValueError(
                    f"sites hold {said(site)}; expected only Sites, such as Site('resid_pre', 3)"
                )
    return several


def said(given: object) -> str:
    """A value in a few words, on one line."""
    shown = " ".join(str(given).split())
    return f"{type(given).__name__} {shown[:40]!r}"
