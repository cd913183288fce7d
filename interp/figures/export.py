"""Figures as SVG through a Chrome or Chromium, when one is found; without one the run goes on."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from interp._files import write_atomically

#: What to do when no browser is found.
GET_CHROME = (
    "figures were written as HTML and CSV, not as SVG: no Chrome or Chromium was found; install one "
    "(Debian: apt-get install chromium; anywhere: plotly_get_chrome), or set BROWSER_PATH to it"
)

log = logging.getLogger(__name__)


def browser() -> tuple[str | None, str]:
    """The browser that would draw, or None and why none was found."""
    from choreographer.browsers.chromium import Chromium

    try:
        path = os.environ.get("BROWSER_PATH") or Chromium.find_browser(skip_local=False)
    except Exception as error:  # a search of the system fails in many ways, and none matters here
        return None, type(error).__name__
    return (str(path), "") if path else (None, "")


def write_svg(figures: Mapping[str, Any], folder: Path, *, timeout: float = 60.0) -> list[str]:
    """Write FOLDER/NAME.svg for every figure in one browser session.

    Nothing is downloaded. Every file is written under a temporary name and renamed.

    Args:
        figures: name -> a plotly figure, or its dictionary.
        folder: where the files go; it must exist.
        timeout: seconds that the whole session may take.

    Returns:
        What went wrong, in sentences for the user; none if all was written.
    """
    if not figures:
        return []
    messages: list[str] = []
    # The browser runs on a thread of its own: notebooks have an event loop running already.
    worker = threading.Thread(target=_session, args=(figures, folder, messages), daemon=True)
    worker.start()
    worker.join(timeout)
    if worker.is_alive():
        messages.append(
            f"figures were written as HTML and CSV; the browser did not finish the SVG files within "
            f"{timeout:.0f} s; open figures/NAME.html and save from there"
        )
    for message in messages:
        log.warning(message)
    return messages


def _session(figures: Mapping[str, Any], folder: Path, messages: list[str]) -> None:
    import asyncio

    from choreographer.errors import ChromeNotFoundError

    try:
        asyncio.run(_render(figures, folder))
    except ChromeNotFoundError:
        messages.append(GET_CHROME)
    except Exception as error:  # a browser fails in many ways and none may cost the run its results
        messages.append(
            f"figures were written as HTML and CSV, not all as SVG: the browser failed with "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}; "
            "set BROWSER_PATH to another Chrome or Chromium"
        )


async def _render(figures: Mapping[str, Any], folder: Path) -> None:
    from kaleido import Kaleido

    # MathJax would be fetched from a server; nothing here needs it.
    async with Kaleido(mathjax=False, timeout=30) as browser:
        for name, figure in figures.items():
            image = await browser.calc_fig(figure, opts={"format": "svg"})
            write_atomically(folder / f"{name}.svg", partial(_write_bytes, image))


def _write_bytes(image: bytes, path: Path) -> None:
    path.write_bytes(image)
