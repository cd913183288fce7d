"""What users give per example, read in its order: texts, names, labels, chosen rows and groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp.arguments import said

#: Rows by number, in any order, or a mask with one truth value per example.
Index = Iterable[Any] | int


def entries(name: str, values: Iterable[Any], length: int) -> list[Any]:
    """A column as a list in its own order, whatever index a data frame gave it.

    Args:
        name: of the argument, for the message.
        values: one entry for each example.
        length: how many are expected.

    Raises:
        ValueError: for a single text, or another number of entries.
    """
    if isinstance(values, str):
        raise ValueError(
            f"{name} must be a list with one entry per example, {length}; got the text {values!r}; "
            "put it into a list"
        )
    column = _listed(name, values)
    if len(column) != length:
        raise ValueError(f"{name} must have one entry per example, {length}; got {len(column)}")
    return column


def _listed(name: str, values: Any) -> list[Any]:
    if not isinstance(values, Iterable):
        raise ValueError(f"{name} got {said(values)}; expected a list of entries")
    return list(values)


def texts(name: str, values: Iterable[Any], length: int | None = None) -> list[str]:
    """A column of texts; a single text is a column of one.

    Raises:
        ValueError: for an entry that is not text (an empty cell, a number), or another length.
    """
    column = [values] if isinstance(values, str) else _listed(name, values)
    for i, entry in enumerate(column):
        if not isinstance(entry, str):
            raise ValueError(
                f"{name} must be texts; got {entry!r} in place {i}; give text, or leave the row out"
            )
    return column if length is None else entries(name, column, length)


def names(name: str, values: Iterable[Any], length: int) -> tuple[str, ...]:
    """A column of names: texts, or whole numbers, which are written out.

    Raises:
        ValueError: for an entry that is neither, or another length.
    """
    column = entries(name, [values] if isinstance(values, str) else values, length)
    written = [str(v) if isinstance(v, Integral) else v for v in column]
    return tuple(texts(name, written))


def ids(name: str, values: Iterable[Any]) -> list[int]:
    """Token ids that one example goes on with.

    Raises:
        ValueError: for anything but whole numbers.
    """
    several = _listed(name, values)
    if not all(isinstance(v, Integral) or getattr(v, "ndim", None) == 0 for v in several):
        raise ValueError(f"{name} hold {said(values)}; expected token ids for each example")
    return [int(v) for v in several]


def numbers(
    name: str, values: Iterable[Any] | float | int, length: int, device: torch.device
) -> Tensor:
    """A column of numbers as a tensor: truth values become 1. and 0., whole numbers stay whole.

    Raises:
        ValueError: for an entry that is no number, such as the word "true", or another length.
    """
    column = entries(name, [values] if isinstance(values, (int, float)) else values, length)
    plain = [v.item() if getattr(v, "ndim", None) == 0 else v for v in column]
    for i, value in enumerate(plain):
        if not isinstance(value, Real) or value != value:
            raise ValueError(
                f"{name} must be numbers, such as 0 and 1; got {value!r} in place {i}; "
                "compare a column of words first, as in frame['label'] == 'true'"
            )
    return torch.tensor([float(v) if isinstance(v, bool) else v for v in plain], device=device)


def chosen_rows(
    index: Index, length: int, device: torch.device | None = None
) -> Int[Tensor, " chosen"]:
    """Row numbers from a choice of rows: numbers in any order, or a mask of `length` truth values.

    Raises:
        ValueError: for a mask of another length, a row that does not exist, or anything else.
    """
    if isinstance(index, str):
        raise ValueError(f"rows must be numbers or a mask; got the text {index!r}; give a list")
    listed: Any = getattr(index, "tolist", lambda: index)()
    plain = [listed] if isinstance(listed, int) else _listed("rows", listed)
    if plain and all(isinstance(v, bool) for v in plain):
        if len(plain) != length:
            raise ValueError(
                f"a mask must have one truth value per example, {length}; got {len(plain)}; "
                "give row numbers instead, or a mask over all of them"
            )
        plain = [i for i, keep in enumerate(plain) if keep]
    for value in plain:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ValueError(
                f"rows must be whole numbers or a mask of truth values; got {value!r} among them; "
                "give one or the other"
            )
        if not -length <= int(value) < length:
            raise ValueError(
                f"row {value} does not exist: there are {length} examples, 0..{length - 1}; "
                "give rows of these"
            )
    return torch.tensor(plain, dtype=torch.long, device=device)


def group_split(
    groups: Sequence[str], *, share: float = 0.5, seed: int = 0
) -> tuple[list[int], list[int]]:
    """Split rows into a train and a test part that share no group.

    Args:
        groups: the entity of each row.
        share: of the groups that go into the train part, in (0, 1).
        seed: of the drawing of groups.

    Returns:
        (train, test): row numbers, each part in the order given.

    Raises:
        ValueError: if either part would be empty.

    Example:
        >>> import interp
        >>> train, test = interp.group_split(["a", "a", "b", "b", "c", "d"], share=0.5)
        >>> sorted(train + test)
        [0, 1, 2, 3, 4, 5]
        >>> (0 in train) == (1 in train), (2 in train) == (3 in train)
        (True, True)
    """
    unique = sorted(set(groups))
    order = torch.randperm(len(unique), generator=torch.Generator().manual_seed(seed)).tolist()
    cut = round(share * len(unique))
    if not 0 < cut < len(unique):
        raise ValueError(
            f"a split of {share:.0%} leaves one part of {len(unique)} groups empty; "
            "give more groups or another share"
        )
    trained = {unique[i] for i in order[:cut]}
    train = [i for i, group in enumerate(groups) if group in trained]
    return train, [i for i, group in enumerate(groups) if group not in trained]
