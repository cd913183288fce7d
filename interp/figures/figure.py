"""The value that every figure function returns: one specification that two renderers draw."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import pandas as pd
import plotly.graph_objects as go

from interp.figures.source import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Arguments = ParamSpec("Arguments")


class Figure(go.Figure):
    """A figure for the screen, by plotly, which `save` also prints on paper, by matplotlib.

    The specification is the plotly figure: what is changed in it (`update_layout`, `update_xaxes`, …)
    is changed on paper too. On paper the title is left to the caption, panels are lettered and laid
    out anew for the width of a venue's column, and no browser is needed.

    Example:
        >>> import pandas as pd
        >>> from interp import figures
        >>> table = pd.DataFrame({"span": "last", "layer": [0, 1, 2], "estimate": [0.0, 0.4, 1.0],
        ...                       "low": [0.0, 0.3, 1.0], "high": [0.1, 0.5, 1.0]})
        >>> figure = figures.handover_curves(table, handover=2)
        >>> figure.layout.xaxis.title.text
        'boundary (before block k)'
        >>> figure.matplotlib(venue="icml").get_figwidth()
        3.25
    """

    _source: Source | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep what it was drawn from in copies too."""
        return (*super().__reduce__()[:2], {"_source": self._source})

    @property
    def source(self) -> Source | None:
        """What it was drawn from; None for a figure that was put together by hand."""
        return self._source

    def drawn_from(
        self,
        function: str,
        table: pd.DataFrame,
        *,
        about: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> Figure:
        """Note what the figure was drawn from.

        Args:
            function: name of the function that drew it.
            table: every number that is drawn.
            about: what its caption tells of the measurement.
            **arguments: what else the function was given.

        Returns:
            The figure itself.
        """
        self._source = Source(function, table, arguments, about or {})
        return self

    def measured_as(self, about: Mapping[str, Any]) -> Figure:
        """Note what a caption tells of the measurement, unless the figure knows it already.

        Args:
            about: model, or base and tuned, metric, sites, direction, prompts.

        Returns:
            The figure itself.
        """
        if self._source is not None and not self._source.about:
            self._source = replace(self._source, about=about)
        return self

    @property
    def plotly(self) -> go.Figure:
        """The same as a plain plotly figure."""
        return go.Figure(self)

    def matplotlib(
        self, *, venue: str = "icml", columns: int = 1, panels: Sequence[str] | None = None
    ) -> Drawing:
        """Draw it by matplotlib, as `save` writes it.

        Args:
            venue: icml, neurips, iclr or acl: sets width and font size.
            columns: how many columns of the page it spans, 1 or 2.
            panels: letters or titles of the panels that are drawn; all by default.

        Returns:
            A matplotlib figure, which belongs to no window.

        Raises:
            ValueError: for an unknown venue, number of columns or panel.
        """
        from interp.figures.paper.drawing import draw
        from interp.figures.paper.venues import width_and_size

        return draw(self, *width_and_size(venue, columns), panels=panels)

    def save(
        self,
        path: str | Path,
        *,
        venue: str = "icml",
        columns: int = 1,
        panels: Sequence[str] | None = None,
        caption: str | None = None,
    ) -> list[Path]:
        """Write the figure for a paper, and beside it its data, how it was made, and its caption.

        A .pdf, .svg or .png is drawn by matplotlib in the width of the venue's column, the same bytes
        every time; a .html is the plotly figure in a page that needs no network. Beside NAME.pdf
        stand NAME.csv (every number that is drawn), NAME.json (what drew it, n, intervals, seed,
        hashes) and NAME.txt (the caption). All files appear together or none does.

        Args:
            path: where it goes; its ending says the format. The folder is made where there is none.
            venue: icml, neurips, iclr or acl: sets width and font size.
            columns: how many columns of the page it spans, 1 or 2.
            panels: letters or titles of the panels that are drawn; all by default.
            caption: the caption's text; by default what the figure is known to show.

        Returns:
            The files: the figure first, then data, description and caption.

        Raises:
            ValueError: for an ending, venue, number of columns or panel that there is not; or where
                NAME.csv, NAME.json or NAME.txt exist and were not written beside such a figure.
        """
        from interp.figures.paper.files import save

        return save(self, Path(path), venue, columns, panels=panels, caption=caption)


def drawn(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Have a function that draws a table note the table and its other arguments in the figure."""
    signature = inspect.signature(draw)

    @wraps(draw)
    def noting(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        table = bound.arguments.pop("table")
        return draw(*args, **kwargs).drawn_from(draw.__name__, table, **bound.arguments)

    return noting
