"""What callers may write for short: one value where several are meant, and one line for the rest."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from interp.sites import Site, site_of_text

#: A warning is attributed to the first caller outside of these.
_PACKAGES = ("interp", "probes", "patching", "studies")


def numbers(name: str, value: Any) -> list[float]:
    """One number or several, as a list.

    Args:
        name: of the argument, for the message.
        value: what was given.

    Raises:
        ValueError: if it holds anything but numbers, or nothing.
    """
    several = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    try:
        listed = [float(number) for number in several]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} got {said(value)}; expected a number, or several") from error
    if not listed:
        raise ValueError(f"{name} got none; expected at least one number")
    return listed


def at_least_one(name: str, value: Any) -> int:
    """A whole number of things, of which there must be some.

    Args:
        name: of the argument, for the message.
        value: what was given.

    Raises:
        ValueError: if it is below one or no whole number.
    """
    if not hasattr(value, "__index__") or int(value) < 1:
        raise ValueError(f"{name} got {said(value)}; expected a whole number of 1 or more")
    return int(value)


def reader_of(model: Any) -> Any:
    """The tokenizer of a model.

    Raises:
        ValueError: if it is no model.
    """
    if not hasattr(model, "tokenizer"):
        raise ValueError(f"model got {said(model)}; expected a Model, as load_model gives")
    return model.tokenizer


def sites_of(value: Any) -> list[Any]:
    """One site or several, as a list; a tuple is one place whose sites are written together.

    The name of a TransformerLens hook, such as "blocks.5.hook_resid_pre", stands for its site, and so
    does a site's short form, such as "resid_pre.5".

    Args:
        value: a site or a hook's name, or several of these, or tuples of them.

    Raises:
        ValueError: if something else is among them.
    """
    several = [value] if isinstance(value, Site | tuple | str) else value
    if not isinstance(several, Iterable):
        raise ValueError(
            f"sites got {said(value)}; expected a Site like Site('resid_pre', 3), or several"
        )
    return [tuple(map(_site, place)) if isinstance(place, tuple) else _site(place) for place in several]


def _site(value: Any) -> Site:
    """A site as it is, or the site of a hook's name."""
    if isinstance(value, Site):
        return value
    if isinstance(value, str):
        site = site_of_text(value)
        if site is not None:
            return site
    raise ValueError(
        f"sites hold {said(value)}; expected only Sites, such as Site('resid_pre', 3), or names of "
        "hooks or sites, such as 'blocks.3.hook_resid_pre' or 'resid_pre.3'"
    )


def said(value: object) -> str:
    """A value in a few words, on one line."""
    shown = " ".join(str(value).split())
    return f"{type(value).__name__} {shown[:40]!r}"


def frames_inside() -> int:
    """How many frames up the caller of these packages is, as `warnings.warn` counts them."""
    frame, count = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals["__name__"].split(".")[0] in _PACKAGES:
        frame, count = frame.f_back, count + 1
    return count
