"""YAML that others wrote: plain values alone, nothing that stands for more than it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from interp.untrusted.limits import DEPTH, SETTINGS
from interp.untrusted.reading import read_text, reason


def read_yaml(path: Path, limit: int = SETTINGS) -> dict[str, Any]:
    """The object that a YAML file holds.

    Args:
        path: the file.
        limit: in bytes.

    Raises:
        ValueError: one line, if it is no ordinary file, larger, no YAML, holds anything but an object,
            a name twice, anchors (by which a few lines stand for endless ones) or tags of other kinds
            than plain values, or is nested too deep.
    """
    text = read_text(path, limit)
    try:
        _check(text)
        _check_names(yaml.compose(text, Loader=yaml.SafeLoader))
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is no YAML that is read ({reason(error, 120)}); write plain lists and values"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must hold names with values; got {type(content).__name__}; write them"
        )
    return content


def _check(text: str) -> None:
    """Refuse anchors and deep nesting before anything is made of a text.

    Raises:
        ValueError: for the first of them.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has anchors")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise ValueError(f"nested deeper than {DEPTH}")


def _check_names(node: yaml.Node | None) -> None:
    """Refuse a name that an object gives twice: the second would stand for both in silence.

    Raises:
        ValueError: with the name.
    """
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"{repeated!r:.60} comes twice")
        for _, value in node.value:
            _check_names(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_names(value)
