"""The benchmark's figure: seconds of every side, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def draw(seconds: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write the grouped bars as SVG, which plotly needs a Chrome or Chromium for."""
    sides = list(dict.fromkeys(side for times in seconds.values() for side in times))
    bars = [
        go.Bar(
            name=side,
            x=[name.replace("_", " ") for name in seconds],
            y=[times.get(side) for times in seconds.values()],
            marker_color=colour,
            text=[f"{times[side]:.3g}" if side in times else "" for times in seconds.values()],
            textposition="outside",
        )
        for side, colour in zip(sides, COLOURS, strict=False)
    ]
    chart = go.Figure(bars)
    chart.update_layout(
        template="simple_white",
        width=820,
        height=400,
        font_size=12,
        margin={"l": 60, "r": 10, "t": 30, "b": 50},
        yaxis={"type": "log", "title": "seconds for the whole grid (log)"},
        xaxis={"title": "site, pairs x tokens"},
        legend={"orientation": "h", "y": 1.12},
    )
    chart.write_image(path)
