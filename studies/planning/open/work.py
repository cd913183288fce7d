"""What comparing or scanning prompts of any kind runs, told from what the two models say to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from interp.examples import Examples
from interp.generation import continued_together
from interp.models.alike import Alike
from studies.comparison.causal import CARRIED, CROSS_PATCHED, RowPlan
from studies.planning import work
from studies.planning.open.heard import Heard, parted
from studies.planning.open.talk import Talk, TalkRates
from studies.planning.work import Work
from studies.scanning.asking import PART
from studies.scanning.samples import ALPHAS, SCALES
from studies.scanning.scanning import AMPLIFIED, SWEPT


def continuing(
    widths: Sequence[int], heard: Sequence[Heard], rates: TalkRates, *, compared: bool = False
) -> Talk:
    """Both models' continuations, and the reading of the base's with both.

    Args:
        widths: tokens of each prompt.
        heard: what each came to.
        rates: tell how many go together.
        compared: whether the two are compared whole, as in a scan.
    """
    talk, apart = Talk(), parted(heard)
    talk.continued(widths, [one.said for one in heard])
    talk.both(widths, [one.said for one in heard], rates.together, compared=compared)
    talk.continued([widths[i] for i in apart], [heard[i].tuned for i in apart])
    return talk


def scanning(widths: Sequence[int], heard: Sequence[Heard], rates: TalkRates) -> Talk:
    """The asking of a scan, part by part: continuations, and both models along both of them."""
    whole = Talk()
    for part in scan_parts(widths):
        here, some = [widths[i] for i in part], [heard[i] for i in part]
        whole.add(continuing(here, some, rates, compared=True))
        apart = parted(some)
        lines, theirs = [here[i] for i in apart], [some[i].tuned for i in apart]
        whole.both(lines, theirs, rates.together, compared=True)
    return whole


def scan_parts(widths: Sequence[int]) -> list[list[int]]:
    """The parts of a scan, as indices of its prompts; see `studies.scanning.asking.parts_of`."""
    return continued_together(widths, PART)


def sampling(
    widths: Sequence[int],
    heard: Sequence[Heard],
    held_out: Sequence[bool],
    tokens: int,
    rates: TalkRates,
) -> Talk:
    """Amplified samples of the prompts that changed most, and the scale sweep of held-out ones.

    Which changed most the scan finds: the first ones stand for them.

    Args:
        widths: tokens of each prompt.
        heard: what each came to.
        held_out: whether each is of the half on which findings are counted.
        tokens: how many are generated at most.
        rates: tell how many go together.
    """
    talk, changed = Talk(), [i for i, one in enumerate(heard) if one.changed]
    chosen = [i for i in changed if not held_out[i]][:AMPLIFIED] or range(len(widths))[:AMPLIFIED]
    lengths = [widths[i] for i in chosen]
    for width in sorted(set(lengths)):
        rows = lengths.count(width) * len(ALPHAS)
        talk.forwards += [(rows, width)] * 2
        talk.steps += [(rows, tokens - 1)] * 2
    swept = [i for i in changed if held_out[i]][:SWEPT]
    places = [widths[i] + (heard[i].place or 0) for i in swept]
    talk.ends(places, rates.together, times=len(SCALES))
    return talk


def interventions(
    widths: Sequence[int],
    heard: Sequence[Heard],
    units: Sequence[str],
    metrics: int,
    most: int,
    device: torch.device | None = None,
) -> tuple[Examples, RowPlan]:
    """What a comparison of prompts intervenes on: the changed ones, as long as they are read.

    Args:
        widths: tokens of the text on which each prompt is read.
        heard: what each came to.
        units: what each is resampled with.
        metrics: how many contrasts are read of every stitched run.
        most: how many are shifted at most.
        device: where fits are timed on them; None for the CPU.

    Returns:
        Made-up prompts of these lengths, and the row sets.
    """
    rows = [i for i, one in enumerate(heard) if one.changed]
    examples = made_up([widths[i] + (heard[i].place or 0) for i in rows], device)
    everyone = torch.ones(len(rows), dtype=torch.bool)
    first: dict[str, int] = {}
    for row, i in enumerate(rows):
        if heard[i].target is not None:
            first.setdefault(units[i], row)
    shifted = torch.tensor(sorted(first.values())[:most], dtype=torch.long)
    plan = RowPlan(
        stitched={str(i): everyone for i in range(metrics)},
        paired=None,
        crossed=torch.arange(min(CROSS_PATCHED, len(rows))),
        carried=shifted[:CARRIED],
        shifted=shifted,
        pushed=torch.ones(len(shifted), dtype=torch.bool),
    )
    return examples, plan


def made_up(widths: Sequence[int], device: torch.device | None = None) -> Examples:
    """Prompts of these lengths, of which nothing but the lengths is real; no two begin alike."""
    count, width = len(widths), max(widths)
    lengths = torch.tensor(widths, dtype=torch.long, device=device)
    mask = torch.arange(width, device=device) < lengths[:, None]
    names = tuple(map(str, range(count)))
    spans = {
        "all": torch.stack([torch.zeros_like(lengths), lengths], 1),
        "last": torch.stack([lengths - 1, lengths], 1),
    }
    tokens = torch.arange(count, device=device)[:, None] * mask
    return Examples(tokens, mask, names, names, spans, ("B",) * count)


def stitching(examples: Examples, rows: RowPlan, same: Alike) -> Work:
    """Both hybrids at every boundary, and both models' words at the site and one position before it."""
    stitched = work.stitching(examples, rows, same)
    stitched.forwards += [work.Forwards(examples, len(same.blocks))] * 4
    return stitched
