"""Scripts and data compressed into text, so that a page of one file stays small.

The page inflates them with the browser's own `DecompressionStream`; equal input gives equal text.
"""

from __future__ import annotations

import base64
import gzip
from functools import lru_cache

from interp.figures.style import plotly_javascript


def packed(text: str) -> str:
    """Text as base64 of its gzip; no character of it can end a script element.

    Args:
        text: what is packed.
    """
    return base64.b64encode(gzip.compress(text.encode("utf-8"), mtime=0)).decode("ascii")


def unpacked(text: str) -> str:
    """Undo `packed`.

    Args:
        text: what `packed` gave.
    """
    return gzip.decompress(base64.b64decode(text)).decode("utf-8")


@lru_cache(maxsize=1)
def packed_plotly() -> str:
    """Source of plotly.js, packed."""
    return packed(plotly_javascript())
