"""What comparing or scanning prompts of any kind would cost on a card: the most it can."""

from __future__ import annotations

from collections.abc import Sequence

from interp.models.alike import Alike
from interp.sites import boundaries
from interp.verdict.thresholds import Thresholds
from studies.comparison.prompts.causal import SIGN_DRAWS, SPANS
from studies.planning import work
from studies.planning.costs import Rates
from studies.planning.hardware import BANDWIDTH_SHARE, Card
from studies.planning.open.heard import Heard
from studies.planning.open.talk import Line, TalkRates
from studies.planning.open.work import (
    continuing,
    interventions,
    sampling,
    scanning,
    stitching,
)
from studies.planning.plans import Cost

#: Contrasts that are read of every stitched run.
METRICS = 4

#: How often two models' distributions pass through a card's memory while they are compared.
COMPARED = 20


def talk_on(card: Card, rates: Rates, vocabulary: int) -> TalkRates:
    """What continuing prompts takes on a card: blocks as in a sweep, and vocabularies read out.

    Args:
        card: the accelerator.
        rates: of sweeps on it, whose price of a run is that of reading a position out.
        vocabulary: number of tokens.
    """
    layers, takes, reading = rates.cost.layers, rates.takes, rates.per_run
    blocks = Line(layers * takes.per_call, layers * takes.per_token)
    passed = COMPARED * 4 * vocabulary / (card.bandwidth * BANDWIDTH_SHARE)
    return TalkRates(
        rates.cost,
        vocabulary,
        forward=blocks,
        step=Line(blocks.each, blocks.per + reading),
        read=Line(0.0, reading),
        compare=Line(0.0, 2 * reading + passed),
        max_bytes=rates.max_bytes,
        apart=layers,
    )


def open_costs(
    what: str,
    widths: Sequence[int],
    tokens: int,
    heads: int,
    rates: Rates,
    talk: TalkRates,
    thresholds: Thresholds,
) -> dict[str, Cost]:
    """What the stages cost if every prompt changes at the last token.

    Args:
        what: "compare" or "scan".
        widths: tokens of each prompt.
        tokens: how many are generated behind each.
        heads: of a block.
        rates: what interventions take.
        talk: what continuing and reading takes.
        thresholds: how much must be measured.
    """
    heard = [Heard.most(tokens)] * len(widths)
    if what == "scan":
        return {
            "asking": scanning(widths, heard, talk).cost(talk),
            "samples": sampling(widths, heard, [True] * len(widths), tokens, talk).cost(talk),
        }
    layers, asking = rates.cost.layers, continuing(widths, heard, talk)
    same = Alike.nothing(layers)
    asking.ends([width + tokens - 1 for width in widths], talk.together)
    units = list(map(str, range(len(widths))))
    examples, rows = interventions(widths, heard, units, METRICS, thresholds.shifted_groups)
    changed, installed = examples.subset(rows.shifted), {layers // 2: len(rows.shifted)}
    shift = work.ShiftRows(
        changed, changed, [dict(enumerate(boundaries(layers)))], installed, frozenset(installed),
        null=False, signs=SIGN_DRAWS,
    )  # fmt: skip
    return {
        "asking": asking.cost(talk),
        "stitching": rates.of(stitching(examples, rows, same)),
        "patching": rates.of(work.patching(examples, rows, same, heads, SPANS)),
        "shared shift": rates.of(work.shared_shift(shift, same, thresholds)),
    }
