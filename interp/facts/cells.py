"""One cell of a user's table as text, or what is wrong with it."""

import datetime
import math
import unicodedata
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

_TIMES = (datetime.date, datetime.time, datetime.timedelta, pd.Period, pd.Interval)

_LINES = "\t\n\r"

_BREAKS = _LINES + "\v\f\x1c\x1d\x1e\x85\u2028\u2029"

_TRUTH = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
    **dict.fromkeys(("0", "0.0", "false", "no"), False),
}

BYTE_ORDER_MARK = "\ufeff"


class CellProblem(ValueError):
    """What is wrong with a cell, as the end of a sentence: "is not finite"."""


class EmptyCell(CellProblem):
    """A cell that holds nothing."""


def cell_text(value: Any, *, lines: bool = False) -> str:
    """A text or number as text without white space around it; whole numbers without a decimal point.

    Every character that is text in some language is kept: combining marks, joiners, soft hyphens,
    no-break spaces and direction marks among them.

    Args:
        value: what the table holds.
        lines: whether line breaks and tabs may stand inside.

    Raises:
        EmptyCell: nothing, NaN, or nothing visible.
        CellProblem: not text or a finite number, or text with control characters, halves of a
            surrogate pair, or a line break where there may be none.
    """
    if isinstance(value, str):
        return _checked(value.strip().strip(BYTE_ORDER_MARK).strip(), lines)
    if value is None or value is pd.NA or value is pd.NaT:
        raise EmptyCell("is empty")
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (Real, Decimal)):
        raise CellProblem(f"must be text or a number, got {type(value).__name__}")
    if isinstance(value, (int, np.integer)):
        return _whole(int(value))
    number = float(value)
    if math.isnan(number):
        raise EmptyCell("is empty (NaN)")
    if not math.isfinite(number):
        raise CellProblem("is not finite")
    return _whole(int(number)) if number.is_integer() else str(value)


def attribute_text(value: Any) -> str:
    """Any single value as text: as `cell_text`, and truth values, dates, times and intervals.

    Raises:
        EmptyCell: nothing, NaN, or nothing visible.
        CellProblem: a list, a mapping or another object, or text with control characters.
    """
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, _TIMES) and value is not pd.NaT:
        return str(value).removesuffix(" 00:00:00")
    return cell_text(value, lines=True)


def truth_value(value: Any) -> bool:
    """A truth value, or what is written for one: 1 or 0, true or false, yes or no.

    Raises:
        EmptyCell: nothing, NaN, or nothing visible.
        CellProblem: anything else.
    """
    word = attribute_text(value).casefold()
    if word not in _TRUTH:
        raise CellProblem(f"must be 1 or 0 (true or false, yes or no), got {word[:20]!r}")
    return _TRUTH[word]


def _whole(number: int) -> str:
    try:
        return str(number)
    except ValueError as error:  # Python writes no number of more than some thousand digits
        raise CellProblem("is too long a number") from error


def _checked(text: str, lines: bool) -> str:
    if text in ("nan", "NaN"):
        raise EmptyCell("is empty (NaN)")
    if all(unicodedata.category(character) in ("Cf", "Zs") for character in text):
        raise EmptyCell("is empty")
    for character in text:
        if character in _BREAKS and not (lines and character in _LINES + "\u2028\u2029"):
            raise CellProblem("holds a line break or a tab")
        if _unprintable(character) and character not in _BREAKS:
            raise CellProblem(f"holds an unprintable character (U+{ord(character):04X})")
    return text


def _unprintable(character: str) -> bool:
    """Control characters, halves of surrogate pairs, and code points that are no characters."""
    code = ord(character)
    no_character = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return unicodedata.category(character) in ("Cc", "Cs") or no_character
