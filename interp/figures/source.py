"""What a figure was drawn from, which is what its files tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Source:
    """What a figure was drawn from.

    Attributes:
        function: name of the function that drew it.
        table: every number that is drawn.
        arguments: what else the function was given; with the table they draw the figure anew.
        about: what a caption tells of the measurement: model, metric, sites, direction and prompts, as
            far as they are known.
    """

    function: str
    table: pd.DataFrame
    arguments: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
