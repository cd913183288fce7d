"""The templates of the report, and the captions of its figures, which are one of them."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = PackageLoader("interp.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def template(name: str) -> Template:
    """Template of a name; what it is given is escaped.

    Args:
        name: of a file in the folder templates.
    """
    return _environment().get_template(name)


@lru_cache
def caption(kind: str) -> str:
    """Caption of a kind of figure, on one line.

    Args:
        kind: name of a macro of captions.txt.j2.
    """
    return " ".join(str(getattr(template("captions.txt.j2").module, kind)()).split())
