"""An effect by layer, with its interval and the spread of its peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from interp.stats.resampling import bootstrap, resample_counts
from interp.verdict.thresholds import Thresholds


@dataclass(frozen=True, eq=False)
class Curve:
    """An effect by layer: mean over entities, its 95% interval, and each bootstrap draw's peak.

    Attributes:
        estimate: mean effect of each layer.
        low: lower end of its 95% interval.
        high: upper end.
        peaks: the layer of the largest mean in each bootstrap draw.
    """

    estimate: Float[np.ndarray, " layer"]
    low: Float[np.ndarray, " layer"]
    high: Float[np.ndarray, " layer"]
    peaks: Int[np.ndarray, " draw"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "entity layer"], *, seed: int = 0) -> Curve:
        """Resample entities; the peak is the layer of the largest mean.

        Args:
            values: the effect on each entity at each layer.
            seed: of the resampling.

        Returns:
            The mean effect by layer, in the unit of the values.
        """

        def means(counts: np.ndarray) -> np.ndarray:
            return counts @ values / counts.sum(1, keepdims=True)

        n, draws = len(values), Thresholds.draws
        estimate, low, high = bootstrap(means, n, draws=draws, seed=seed)
        peaks = means(resample_counts(n, draws, seed)).argmax(1)
        return cls(estimate, low, high, peaks)

    @property
    def peak(self) -> int:
        """The layer of the largest mean effect."""
        return int(self.estimate.argmax())

    def peak_range(self) -> tuple[int, int]:
        """Layers between which 95% of the draws peak: layers themselves, since a peak is one."""
        first, last = np.quantile(self.peaks, (0.025, 0.975), method="inverted_cdf")
        return int(first), int(last)

    def band(self) -> list[int]:
        """Layers whose interval lies above zero."""
        return np.flatnonzero(self.low > 0).tolist()
