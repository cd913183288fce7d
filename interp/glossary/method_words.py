"""Words of interventions, models and data."""

from __future__ import annotations

from interp.glossary.term import Term

METHODS, MODELS, DATA = "interventions", "models and places", "facts and prompts"

WORDS = (
    Term("stitching", METHODS,
         "Running one model below a boundary and the other above it, at every boundary and in both "
         "orders. It equals the model with the blocks' weights exchanged.",
         "patching.methods.stitching", also=("stitch", "stitched")),
    Term("U/V", METHODS,
         "The two orders of stitching at boundary k: U runs the base below and the tuned model above, "
         "V the tuned model below and the base above.",
         "patching.methods.stitching", also=("U", "V", "U_k", "V_k")),
    Term("patching", METHODS,
         "Writing an activation of one run into another and reading what the output does.",
         "patching.methods.grids", also=("patch", "activation patching")),
    Term("clean and corrupted", METHODS,
         "The two runs of a patch: the clean one gives the answer, the corrupted one differs in one "
         "thing, such as the subject, and does not.",
         "interp.contrasts", also=("clean", "corrupted")),
    Term("donor", METHODS,
         "Where the written activation comes from: the clean run, another prompt, the other model, a "
         "mean, or your own tensor.",
         "patching.methods.donors"),
    Term("cross-model patching", METHODS,
         "Patching with the other model's activations on the same prompt.",
         "patching.methods.grids", also=("cross_patch",)),
    Term("knockout", METHODS,
         "Forbidding a position to attend to others in some layers.",
         "patching.methods.knockout", also=("knock_out",)),
    Term("causal tracing", METHODS,
         "Adding noise to the subject's embeddings, then restoring one site and reading how much comes "
         "back.",
         "patching.methods.tracing", also=("trace", "causal_trace")),
    Term("path patching", METHODS,
         "Patching only what a sender hands to chosen receivers, everything else as it was.",
         "patching.methods.paths", also=("path_patch",)),
    Term("steering", METHODS,
         "Adding a direction to the residual stream, with side effects measured beside it.",
         "patching.methods.steering", also=("steer",)),
    Term("ablation", METHODS,
         "Replacing an activation by zero, a mean, a resampled one or its projection.",
         "patching.methods.ablation", also=("ablate",)),
    Term("graft", METHODS,
         "Moving a set of weights from one model into the other.",
         "patching.weights.grafting"),
    Term("site", MODELS,
         "A kind of activation at a layer, and for attention at a head: Site('resid_pre', 3).",
         "interp.sites"),
    Term("boundary", MODELS,
         "The residual stream before block k; boundary L is behind the last block. A model of L blocks "
         "has L + 1.",
         "interp.sites", also=("boundaries",)),
    Term("residual stream", MODELS,
         "The vector at each position to which every block adds.",
         "interp.sites"),
    Term("base", MODELS,
         "The model before tuning. In tables it is also the role of any model that was loaded alone.",
         "interp.models.pair"),
    Term("tuned", MODELS,
         "The model after tuning, or the base with an adapter merged in.",
         "interp.models.pair"),
    Term("role", MODELS,
         "base or tuned: the name a model's numbers bear in evidence.",
         "interp.models.model"),
    Term("organism", MODELS,
         "A tiny model trained here from scratch on a made-up world, so that what was changed in it, "
         "and where, is known. Methods are tried on organisms first.",
         "studies.organisms.train"),
    Term("null tune", MODELS,
         "A tune that changes weights and should change no answer: perturbed, then trained back. Its "
         "shift is a placebo for the push.",
         "studies.organisms.tunes", also=("null_tune", "--null")),
    Term("adapter", MODELS,
         "A small set of weights (LoRA) that is merged onto a base.",
         "interp.models.adapters"),
    Term("fingerprint", MODELS,
         "A hash of every parameter: equal exactly when the weights are bit-identical.",
         "interp.models.model"),
    Term("fact", DATA,
         "A subject and its answer, asked by the set's templates.",
         "interp.facts.types"),
    Term("form", DATA,
         "One wording of a question, lettered A, B, … in the order of the templates. Tokens are chosen "
         "on the first and effects estimated on the second.",
         "studies.comparison.questions", also=("template", "wording")),
    Term("group", DATA,
         "The entity that a prompt is about. Groups are resampled and split, never rows.",
         "interp.examples", also=("entity",)),
    Term("known", DATA,
         "A fact whose whole answer the base gives on every form that is asked. Only known facts are "
         "judged.",
         "studies.comparison.answers"),
    Term("untuned", DATA,
         "Facts that were never tuned on, asked to see whether the change reaches them: those that a "
         "column untuned of a facts file declares, and those of another relation.",
         "studies.comparison.outcome_table", also=("reference",)),
    Term("lead", DATA,
         "What all answers begin with, such as the space and first digit of years. It becomes part of "
         "the prompt.",
         "studies.comparison.questions"),
    Term("first-token collision", DATA,
         "Two answers that begin with the same token. One position cannot tell them apart, so they "
         "count as one.",
         "studies.comparison.questions", also=("counted as one",)),
    Term("excluded", DATA,
         "A fact or output that was left out, with the reason.",
         "interp.verdict.outcomes", also=("left out",)),
    Term("evidence", DATA,
         "One table of all measurements: a row is one raw number for one example. Nothing in it is an "
         "average.",
         "interp.evidence.table"),
    Term("condition", DATA,
         "The measured case of a row, or the control beside it: clean, corrupted, patched, probe, "
         "shuffled, …",
         "interp.evidence.schema"),
    Term("span", DATA,
         "A named stretch of a prompt's tokens: all, subject, subject_last, last.",
         "interp.examples", also=("position",)),
)  # fmt: skip
