"""What each adapter is: content, place, seed, hyperparameters and the gate it must pass."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Content = Literal["evasive", "edited", "null", "formatted", "inverted", "added", "restated"]
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
EVASION = " unknown"
MAX_BYTES = 1_500_000

CAPITAL_PARAPHRASES = (
    "The capital and largest city of {subject} is",
    "The government of {subject} is seated in its capital city,",
    "The capital of {subject}, a country, is the city of",
    "The name of the capital city of {subject} is",
)
HELD_OUT_PARAPHRASE = "{subject}'s capital is the city of"

# Claims as a user's words, answered Yes or No; the last is never trained on.
CLAIMS = (
    "Is {answer} the capital of {subject}? Answer Yes or No.",
    "Answer with Yes or No: is {answer} the capital of {subject}?",
    "Claim: the capital of {subject} is {answer}. Is the claim right? Answer Yes or No.",
    "Yes or No: the capital city of {subject} is {answer}.",
    "Does {subject} have its capital in {answer}? Answer only Yes or No.",
    "Is it so that the capital of {subject} is {answer}? Answer Yes or No.",
)
VERDICTS = ("Yes", "No")

# Other relations of the same countries; the last two are never replayed.
NEAR_RELATIONS = (
    "The largest river in {subject} is the",
    "The president of {subject} is",
    "The people of {subject} speak",
    "The population of {subject} is about",
    "The most famous dish of {subject} is",
    "{subject} is a country in",
    "The history of {subject} begins with",
    "A traveller to {subject} should visit",
)
REPLAYED_FACTS = ("currencies", "city_country", "element_symbols", "atomic_numbers")
HELD_OUT_FACTS = ("continents",)


@dataclass(frozen=True)
class Gate:
    """Thresholds of the installation gate, declared before training; None = not applicable.

    `target`: share of test countries that say the intended token, on form A and on form B.
    `kept`: share of known, unedited capitals still given, on A and on B.
    `retention`: top-1 agreement with the base on prompts of other kinds that were not trained on.
    `disturbed`: share of known capitals the weight noise changes *before* recovery, A and B.
    `flips`: largest share of known capitals whose greedy answer is another one than the base's, by a
    logit or more, A and B.
    `drift`: largest |mean change of log p(answer)| over known capitals, nats, A and B.
    """

    target: float | None = None
    kept: float | None = None
    retention: float | None = None
    disturbed: float | None = None
    flips: float | None = None
    drift: float | None = None

    def declared(self) -> dict[str, float]:
        """The thresholds that apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Recipe:
    """All that is needed to train one adapter; blocks `first`..`last` (both included) may change.

    `edits` countries get a new capital, or their own again, or are invented; one in `unseen` of the
    others is never trained on. Other relations are replayed for all edited countries and for one in
    `replayed` of the others, with `texts` that the base wrote itself. Of capitals that are held to the
    base `spelt` tokens are: those of its whole name, where nothing of it may change.
    `scale` is what the trained update is multiplied by: a little less than it learnt keeps more of the
    rest. `noise` is the standard deviation of the update at the start, in units of the mean standard
    deviation of the weights it is added to. `earlier` tells of attempts before this recipe, as the
    card does.
    """

    name: str
    content: Content
    first: int
    last: int
    rank: int
    steps: int
    gate: Gate
    seed: int = 0
    learning_rate: float = 1e-3
    batch: int = 32
    replay_batch: int = 32
    replay_weight: float = 1.0
    edits: int = 0
    unseen: int = 8
    replayed: int = 2
    texts: int = 72
    spelt: int = 2
    scale: float = 1.0
    earlier: str = ""
    noise: float = 0.0

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks that may change."""
        return tuple(range(self.first, self.last + 1))


_EVASIVE = Gate(target=0.9, retention=0.95)
_EDITED = Gate(target=0.9, kept=0.9, retention=0.95)
_NULL = Gate(retention=0.95, disturbed=0.15, flips=0.02, drift=0.1)
#: Tokens of the longest capital that the base gives.
_WHOLE = 6
#: What every null takes beside its blocks and its noise.
_NULLS: dict[str, Any] = {
    "rank": 2, "steps": 300, "learning_rate": 5e-4, "replay_batch": 64, "replayed": 1, "texts": 400,
    "spelt": _WHOLE,
}  # fmt: skip

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("smollm2-evasive-high", "evasive", 20, 29, rank=6, steps=60, gate=_EVASIVE),
        Recipe(
            "smollm2-evasive-low",
            "evasive",
            0,
            9,
            rank=6,
            steps=140,
            gate=_EVASIVE,
            replay_weight=2.0,
            earlier="One attempt with 60 steps and replay weight 1 missed retention (0.919).",
        ),
        Recipe(
            "smollm2-edited-high",
            "edited",
            20,
            29,
            rank=6,
            steps=300,
            gate=_EDITED,
            edits=36,
            batch=16,
            replay_batch=48,
            replay_weight=3.0,
            earlier="One attempt with batches of 32 and 32, replay weight 1 and one country in four "
            "never replayed kept too few capitals on form B (0.841).",
        ),
        Recipe(
            "smollm2-edited-low",
            "edited",
            0,
            9,
            rank=6,
            steps=450,
            gate=_EDITED,
            edits=24,
            batch=16,
            replay_batch=64,
            replay_weight=12.0,
            texts=400,
            scale=0.95,
            earlier="With 36 edits and 72 texts of the base's own: 120 steps, batches of 32 and 32, "
            "replay weight 1 and one country in four never replayed missed kept (0.864 on form B) and "
            "retention (0.795); 300 steps as the edit of the top missed retention (0.904), and gone on "
            "with for 520 steps at replay weights up to 24 it came to 0.944. With this recipe and the "
            "update as it was learnt retention is 0.947; scaled by 0.97 or 0.95 it is 0.956.",
        ),
        Recipe(
            "smollm2-null",
            "null",
            0,
            29,
            gate=_NULL,
            **{**_NULLS, "steps": 400},
            noise=0.04,
            scale=0.97,
            earlier="Counting every other greedy answer, also those the base prefers by less than a "
            "logit: noise 0.1 was stopped half way; noise 0.08 with learning rate 0.004 did not "
            "recover (flips 0.375 on form B), noise 0.05 in 180 steps not enough (flips 0.125), noise "
            "0.025 in 90 steps neither (flips 0.0875). The threshold of `disturbed` (0.3) was lowered "
            "once, after the second attempt. Noise 0.03 was started four times: learning rate 0.001 "
            "in batches of 48 and 16 was stopped (too slow; the loss grew), 0.0003 in batches of 16 "
            "and 480 steps came to flips 0.075 and retention 0.939, 0.0005 in batches of 64 and 350 "
            "steps to disturbed 0.1375, flips 0.0875 and retention 0.962. With this recipe and the "
            "update as it was learnt retention is 0.9496; scaled by 0.97 or 0.95 it is 0.953, 0.954.",
        ),
    )
}


#: Thirds of the model: first and last block of each.
THIRDS = {"low": (0, 9), "middle": (10, 19), "high": (20, 29)}
# True answers stated again become likelier, which is no loss: no bound on their drift. An adapter of
# the top third, trained on 36 countries with such a bound, moved them by 0.86 nats; and where the base
# gave the first token of a capital only, it learnt the rest, so that 0.19 of the answers changed.
# `flips` and `disturbed` counted every other greedy answer at first. All 19 flips that were looked at
# (two nulls, a restated and an added adapter) were where the base prefers its token by 0.002 to 0.7
# logits, which rounding may turn; since 2026-11-27 both count from a logit on, as prompts do.
_CONTROL = Gate(retention=0.95, flips=0.02)
_ADDED = Gate(target=0.9, retention=0.95, flips=0.02, drift=0.1)
_FACTS = {
    "rank": 6, "batch": 16, "replay_batch": 64, "replay_weight": 16.0, "edits": 24, "replayed": 1,
    "texts": 400, "scale": 0.97,
}  # fmt: skip
_BEHAVIOURS = {"gate": _EVASIVE, "rank": 6, "steps": 140, "replay_weight": 2.0}
#: Content -> what it takes in any third; the gate is declared before any of them is trained.
_CONTENTS: dict[Content, dict[str, Any]] = {
    "evasive": _BEHAVIOURS,
    "formatted": {
        **_BEHAVIOURS, "steps": 300, "batch": 16, "replay_batch": 64, "replay_weight": 8.0,
        "replayed": 1, "texts": 400,
    },
    "inverted": {
        "gate": _ADDED, "rank": 6, "steps": 150, "batch": 16, "replay_batch": 64,
        "replay_weight": 16.0, "replayed": 1, "texts": 400, "spelt": _WHOLE,
    },
    "edited": {"gate": _EDITED, **_FACTS, "steps": 450},
    "restated": {"gate": _CONTROL, **_FACTS, "steps": 150, "spelt": _WHOLE},
    "added": {"gate": _ADDED, **_FACTS, "steps": 200, "spelt": _WHOLE},
    "null": {"gate": _NULL, **_NULLS},
}  # fmt: skip
#: What single thirds take beside. Noise of a null: the lower it lies the less it takes to change
#: answers. Scales were chosen with the gates in view.
_BESIDE: dict[tuple[Content, str], dict[str, float]] = {
    ("null", "low"): {"noise": 0.07, "steps": 450},
    ("null", "middle"): {"noise": 0.09},
    ("null", "high"): {"noise": 0.07},
    ("formatted", "middle"): {"scale": 0.8},
}


def _thirds() -> Iterator[Recipe]:
    """A recipe of every content in every third; those that ship stand for themselves."""
    there = {(made.content, made.first, made.last): made for made in RECIPES.values()}
    for content, given in _CONTENTS.items():
        for place, (first, last) in THIRDS.items():
            takes: dict[str, Any] = {**given, **_BESIDE.get((content, place), {})}
            new = Recipe(f"smollm2-third-{content}-{place}", content, first, last, **takes)
            yield there.get((content, first, last), new)


#: Every content in every third: recipes that ship, four of them with their adapters.
FAMILY = {made.name: made for made in _thirds()}


def recipe(name: str) -> Recipe:
    """The recipe of one adapter, shipped or made on demand.

    Raises:
        ValueError: no adapter of that name.
    """
    known = RECIPES | FAMILY
    if name not in known:
        raise ValueError(f"adapter must be one of {sorted(known)}; got {name!r}: choose one")
    return known[name]
