"""Words of what is measured: by stitching and pushing, by probes, and in which units."""

from __future__ import annotations

from interp.glossary.term import Term

PUSHES, PROBES, MEASURES = "the shared-shift test", "probes", "measures and units"

WORDS = (
    Term("shared shift", PUSHES,
         "The test of whether a change is one push that the base's own state predicts, or goes entity "
         "by entity. What tuning adds to the residual stream is predicted for each entity from the "
         "others.",
         "patching.methods.shifting", also=("shared-shift test",),
         formula="δ_i(k) = h_tuned,i(k) − h_base,i(k)"),
    Term("push", PUSHES,
         "The predicted shift of one entity, fitted on other entities (ridge from the base's state, "
         "five folds), never from the token the tuned model says, nor from a state that both share.",
         "patching.methods.pushes", formula="P̂_i(k) from h_base,i(k)"),
    Term("sufficiency", PUSHES,
         "The share of changed outputs that the base says too once the push is added to its state.",
         "patching.methods.shifting", also=("S",),
         formula="S = mean of [base given h_base + P̂ says the tuned token]"),
    Term("retention", PUSHES,
         "The share of changed outputs for which the base's upper blocks still give the right answer "
         "from the tuned state, the mean shift taken away. Measured at the boundary before the "
         "handover.",
         "patching.methods.shifting", also=("F",),
         formula="F = mean of [base above, given h_tuned − δ̄, gives its answer in the closed set]",
         is_not="that nothing was lost: with untouched lower blocks it is high by construction"),
    Term("persistence", PUSHES,
         "The share of changed outputs that the tuned model still says once the mean shift is taken "
         "away.",
         "patching.methods.shifting", also=("R",),
         formula="R = mean of [tuned given h_tuned − δ̄ still says its token]"),
    Term("S/F/R", PUSHES,
         "Sufficiency, retention and persistence, the three shares that decide the kind of change.",
         "interp.verdict.what", also=("SFR",)),
    Term("floor and ceiling", PUSHES,
         "What the unedited models themselves do on the same outputs. A share is read between them: at "
         "the floor the intervention does nothing, at the ceiling everything.",
         "interp.verdict.answers", also=("floor", "ceiling")),
    Term("closed set", PUSHES,
         "The answers of all known facts. An answer is right in the closed set if it has the highest "
         "logit among them, whatever else the model would rather say.",
         "interp.metrics.answers"),
    Term("gate", PUSHES,
         "How well the base's own state tells changed entities from unchanged ones, as AUROC. Near one "
         "half, nothing in the state tells who is affected.",
         "patching.methods.shifting"),
    Term("placebo", PUSHES,
         "An intervention of the same size that should do nothing: random shifts of the push's norm, "
         "random directions, the shift of a null tune, or as many other keys in a knockout.",
         "patching.methods.pushes"),
    Term("probe", PROBES,
         "A small reader (logistic, ridge, difference of means, …) fitted to activations. It shows "
         "what can be read at a site.",
         "probes.cross_validation", is_not="that the model uses what is read"),
    Term("control task", PROBES,
         "The same probe with one random label per entity. Held-out entities can then only be guessed, "
         "so what the probe scores here is what guessing scores.",
         "probes.controls", also=("control_task",)),
    Term("selectivity", PROBES,
         "Balanced accuracy of the probe minus that of its control task, paired by entity.",
         "probes.measures.accuracy", formula="accuracy(probe) − accuracy(control task)"),
    Term("surface features", PROBES,
         "Trivial readers that see only tokens, letters, length or frequency. A probe must beat every "
         "one of them.",
         "probes.controls", also=("surface", "trivial reader")),
    Term("random features", PROBES,
         "The same probe on Gaussian vectors in place of activations: one vector per token, summed "
         "over the example.",
         "probes.controls", also=("random_features",)),
    Term("balanced accuracy", PROBES,
         "The mean over classes of the share read right. One half is chance for two classes, whatever "
         "their sizes.",
         "probes.measures.accuracy"),
    Term("AUROC", PROBES,
         "The chance that a probe's margin is larger for a positive than for a negative example; one "
         "half is chance. It needs no cut, which balanced accuracy does.",
         "probes.measures.calibration", formula="P(margin⁺ > margin⁻) + ½ P(equal)"),
    Term("readable", PROBES,
         "A probe tells the attribute of unseen entities above its control task and its surface "
         "readers.",
         "interp.verdict.claims.readable"),
    Term("belief and claim", PROBES,
         "What a held-out probe reads of a statement's truth, beside what the model says when asked.",
         "probes.beliefs.agreement", also=("belief",)),
    Term("interval", MEASURES,
         "In square brackets behind an estimate: 95%, over entities, never over tokens. Wilson for "
         "shares, BCa bootstrap for means and accuracies.",
         "interp.stats.intervals", also=("confidence interval", "CI")),
    Term("nats", MEASURES,
         "The unit of log probabilities with the natural logarithm: one nat less is a probability "
         "smaller by a factor of e (2.72).",
         "interp.metrics.answers", formula="log p"),
    Term("logits", MEASURES,
         "The model's scores before the softmax. A difference of two is the log of the odds between "
         "two tokens.",
         "interp.metrics.answers"),
    Term("contrast", MEASURES,
         "A difference of logits. The output contrast is what the base says against what the tuned "
         "model says; the fact contrast is the right answer against the other known answers.",
         "interp.metrics.answers", also=("output contrast", "fact contrast")),
    Term("foil", MEASURES,
         "The wrong answer beside the right one in a difference of logits.",
         "interp.contrasts"),
    Term("recovery", MEASURES,
         "How much of the difference between the corrupted and the clean run a patch restores.",
         "patching.methods.recovery",
         formula="(m(patched) − m(corrupted)) / (m(clean) − m(corrupted))"),
    Term("layer-token", MEASURES,
         "One token put through one block: the unit of work that plans and progress bars count.",
         "patching.engine.planning", also=("layer-tokens",)),
    Term("logit lens", MEASURES,
         "What the final norm and the unembedding make of a state in the middle of the network, as if "
         "the blocks above did nothing.",
         "interp.lens.logit_lens", also=("logit_lens",),
         formula="softcap(W_U · norm(h_k) + b_U)",
         is_not="what the model holds there: blocks above may use what the lens does not show"),
)  # fmt: skip
