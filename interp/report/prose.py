"""The templates of the report, and the words of its figures, which are macros of two of them."""

from __future__ import annotations

from functools import lru_cache
from html import unescape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = PackageLoader("interp.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def template(name: str) -> Template:
    """Template of a name; what it is given is escaped where it is HTML.

    Args:
        name: of a file in the folder templates.
    """
    return _environment().get_template(name)


def sentence_of(name: str, macro: str, *values: Any) -> str:
    """What a macro of a template says, on one line, not escaped.

    Args:
        name: of a file in the folder templates.
        macro: of that file.
        *values: what the macro takes.
    """
    said = getattr(template(name).module, macro)(*values)
    return " ".join(unescape(str(said)).split())
