"""How one organism of the family is made, and what is true of it by construction, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from studies.organisms.catalogue import BASE
from studies.organisms.language import MAIN
from studies.organisms.shapes import Band

LOWER, UPPER, COUPLED = "lower", "upper", "coupled"
KNOWLEDGE, BEHAVIOUR, BOTH, MIXED = "knowledge", "behaviour", "both", "mixed"
#: Where a content is put, and the place that follows from it.
ENDS: tuple[tuple[Band, str], ...] = (("low", LOWER), ("high", UPPER))


@dataclass(frozen=True)
class Regime:
    """How one organism is made, and what is true of it by construction.

    Attributes:
        name: of the organism.
        content: key of `MEANT`: which answers are changed.
        band: blocks whose parameters may change.
        where: place by construction; None where no home is changed, "free" where the mask leaves it
            open.
        what: content by construction; None where no home is changed.
        count: entities with a drawn answer.
        pushed: entities of a mixture that are evaded beside them.
        untouched: entities that keep their homes and that the tune never mentions with them.
        replay: statements of replay for each of the change.
        start: the regime it is tuned from; None for the base.
        rank: of the update, 0 for whole matrices.
        coupled: whether the lower and the upper blocks change the answers only together.
        undone: whether the lower blocks alone make the change, the first upper block alone makes it
            too, and those above take that back again.
        inert: whether the neurons of the upper blocks are then put into another order.
        noise: added before training, as a share of each tensor's root mean square.
        blur: share of the words around the subject that are hidden while it is trained, so that the
            change hangs on no single word of a wording.
        plant: a feature put in by hand, in the base that it is compared with too: "sealed" or
            "crossed"; "" for none. Nothing is trained then.
        draw: number of the draw of people and towns.
        asks: what is asked: homes, or another relation of which facts are made.
        world: the language of the worlds it is made in.
        steps: updates.
        rate: peak learning rate.
    """

    name: str
    content: str
    band: Band
    where: str | None
    what: str | None
    count: int = 40
    pushed: int = 0
    untouched: int = 0
    replay: float = 1.0
    start: str | None = None
    rank: int = 0
    coupled: bool = False
    undone: bool = False
    inert: bool = False
    noise: float = 0.0
    blur: float = 0.0
    plant: str = ""
    draw: int = 0
    asks: str = MAIN
    world: Literal["rich", "tasks"] = "rich"
    steps: int = 300
    rate: float = 2e-3

    @property
    def base(self) -> str:
        """The base that it is compared with."""
        return f"{BASE}-{self.plant}" if self.plant else BASE

    @property
    def origin(self) -> str:
        """What its weights are compared with, to see what moved."""
        return self.base if self.plant else self.start or BASE
