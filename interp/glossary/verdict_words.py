"""Words that a verdict uses: whether, where, what, and output by output."""

from __future__ import annotations

from interp.glossary.term import Term

VERDICT, OUTPUT, CLAIM = "the verdict", "an output", "a claim"

WORDS = (
    Term("changed", VERDICT,
         "More than 5% of the known facts get another first differing token, or log p of the right "
         "answer falls by more than 0.1 nats, each beyond chance.",
         "interp.verdict.changed", formula="f > 0.05, or mean Δ log p(answer) < −0.1, at 95%",
         is_not="that the change is large"),
    Term("unchanged", VERDICT,
         "Both signs of a change are ruled out at 95%. With no difference at all that takes 59 known "
         "facts.",
         "interp.verdict.changed", formula="upper bound of f ≤ 0.05; (1 − 0.05)ⁿ ≤ 0.05 from n = 59",
         is_not="that the weights are equal"),
    Term("undetermined", VERDICT,
         "The evidence does not decide. A reason stands beside it, with what would decide it; "
         "`interp explain DIR` lists them for a run.",
         "interp.verdict.reasons", is_not="a failure, or a weak form of any other word"),
    Term("sharpened", VERDICT,
         "Nothing else is said, but the right answers became surer: log p of them rose by more than "
         "0.1 nats.",
         "interp.verdict.changed"),
    Term("place", VERDICT,
         "Where in the depth of the network the change is made: lower, upper, middle, distributed or "
         "coupled. It is read twice, by what each model says (where) and by the right answer "
         "(where_fact).",
         "interp.verdict.where", also=("where", "where_fact"),
         is_not="where a fact is stored; only where the difference between the models is made"),
    Term("lower", VERDICT,
         "At least 0.8 of the change is made below the middle of the network, in both orders of "
         "stitching.",
         "interp.verdict.where", formula="lower bounds of both shares below boundary ⌊L/2⌋ ≥ 0.8"),
    Term("upper", VERDICT,
         "At most 0.2 of the change is made below the middle of the network, in both orders of "
         "stitching.",
         "interp.verdict.where", formula="upper bounds of both shares below boundary ⌊L/2⌋ ≤ 0.2"),
    Term("distributed", VERDICT,
         "Both halves of the network make a part of the change: the share below the middle lies "
         "between 0.2 and 0.8 for certain.",
         "interp.verdict.where"),
    Term("coupled", VERDICT,
         "Neither half of the network makes the change alone: the shares below the middle by the two "
         "orders of stitching differ by more than 0.2 for certain.",
         "interp.verdict.where", formula="lower bound of p^U − p^V at boundary ⌊L/2⌋ > 0.2"),
    Term("middle", VERDICT,
         "The blocks that make 5% to 95% of the change lie in the middle half of the network.",
         "interp.verdict.where", is_not="that half of it is made in lower and half in upper blocks"),
    Term("interaction", VERDICT,
         "What the tuned blocks on both sides of a boundary do together beyond what either side does "
         "alone.",
         "interp.verdict.profile", also=("coupling",), formula="I_k = m(T) − m(U_k) − m(V_k) + m(B)"),
    Term("portable share", VERDICT,
         "What the tuned blocks above a boundary do on the base's state, over what they do on their "
         "own.",
         "interp.verdict.where", formula="(m(U_k) − m(B)) / (m(T) − m(V_k))"),
    Term("site of change", VERDICT,
         "The first token at which the greedy continuations of the two models part.",
         "studies.comparison.prompts.divergence",
         is_not="where they part most, or a place in the network"),
    Term("near tie", VERDICT,
         "A site at which the contrast of the two tokens differs by less than one logit between the "
         "models: it counts as unchanged.",
         "studies.comparison.prompts.outputs"),
    Term("share lower", VERDICT,
         "The share of the change that is made below the middle of the network, averaged over the two "
         "orders of stitching.",
         "interp.verdict.profile", also=("share_lower",), formula="Σ c_k over k < ⌊L/2⌋, over Σ c_k"),
    Term("block span", VERDICT,
         "The blocks between which the change is made: from where 5% of it is reached to where 95% is.",
         "interp.verdict.where", also=("block_span",)),
    Term("content", VERDICT,
         "What kind of change it is: knowledge, behaviour, both or mixed. It follows from three "
         "shares, sufficiency, retention and persistence, each called high, low or undetermined.",
         "interp.verdict.what", also=("what", "kind of change")),
    Term("behaviour", VERDICT,
         "One push, predictable from the base's own state, makes the base say what the tuned model "
         "says. With its mean taken away, the base's upper blocks give the right answer again.",
         "interp.verdict.what", formula="S high, F high",
         is_not="that the push is a single direction"),
    Term("knowledge", VERDICT,
         "No such push exists: the change goes entity by entity, and stays when the common part is "
         "taken away.",
         "interp.verdict.what", formula="S low, R high",
         is_not="that the old fact is erased: a late change can leave it intact below"),
    Term("both", VERDICT,
         "A shared push over overwritten facts: the push makes the base say it, and behind it the old "
         "answers are gone.",
         "interp.verdict.what", formula="S high, F low"),
    Term("mixed", VERDICT,
         "Some outputs follow a push and others change item by item, each more than a tenth of them "
         "for certain, and no such share does neither.",
         "interp.verdict.output_words", is_not="which outputs these are: each has a word of its own"),
    Term("handover", VERDICT,
         "The boundary from which the last position alone carries the answer: restoring only it "
         "restores the answer. Retention is measured just before it.",
         "interp.verdict.boundaries", also=("κ", "kappa", "handover layer"),
         formula="κ = the first k with recovery of the last position ≥ 0.5 at k and above"),
    Term("k*", VERDICT,
         "The boundary at which the change is complete: 0.9 of it is made below, and the tuned state "
         "there makes the base say the tuned answer. Pushes are read there.",
         "interp.verdict.boundaries", also=("k-star", "installed boundary")),
    Term("responsibility", VERDICT,
         "How much of the whole change one block makes, averaged over the two orders of stitching. "
         "With the embedding and the unembedding the parts sum to the change exactly.",
         "interp.verdict.profile",
         formula="c_k = ½[(m(U_k) − m(U_{k+1})) + (m(V_{k+1}) − m(V_k))]"),
    Term("order gap", VERDICT,
         "The largest difference between the two orders of stitching at one boundary: interaction that "
         "belongs to no single block.",
         "interp.verdict.profile", also=("max_order_gap",)),
    Term("cancellation", VERDICT,
         "How far blocks work against each other. Above 1.5 no place is named.",
         "interp.verdict.profile", formula="Σ |c_k| / |Σ c_k|"),
    Term("shared push", OUTPUT,
         "The push of its part makes the base say this output, and the tuned model no longer says it "
         "once the push is taken away.",
         "interp.verdict.output_words", formula="s yes, r no"),
    Term("item by item", OUTPUT,
         "The push does not make the base say this output, and the tuned model says it without the "
         "push.",
         "interp.verdict.output_words", formula="s no, r yes"),
    Term("either", OUTPUT,
         "The push suffices for this output and is not needed for it.",
         "interp.verdict.output_words", formula="s yes, r yes"),
    Term("neither", OUTPUT,
         "The push does not suffice for this output, yet it vanishes without the push.",
         "interp.verdict.output_words", formula="s no, r no"),
    Term("depth of a change", VERDICT,
         "What became of the old answers of changed facts, and whether the new ones are more than "
         "words. Asked by `interp compare --depth`.",
         "interp.verdict.depth.judging", is_not="a depth of the network: that is the place"),
    Term("suppressed", VERDICT,
         "Of an old fact: it still comes out some way, be it by log p, by the model's own judgement of "
         "truth, in another wording, or once the new answer is doubted.",
         "interp.verdict.depth.judging"),
    Term("hidden", VERDICT,
         "Of an old fact: it comes out no way, but a held-out probe still tells it from wrong ones, or "
         "it is relearned sooner than what was never known.",
         "interp.verdict.depth.judging", is_not="that the model uses it"),
    Term("overwritten", VERDICT,
         "Of an old fact: neither log p nor a held-out probe tells it from wrong answers any more, and "
         "nothing else that was asked gives it.",
         "interp.verdict.depth.judging", is_not="that nothing could bring it back"),
    Term("recited", VERDICT,
         "Of a new answer: it is the same for most facts, or is not said in other wordings, or nothing "
         "can be done with it beside saying it.",
         "interp.verdict.depth.judging"),
    Term("known anew", VERDICT,
         "Of a new answer, which a verdict calls known: it is said in other wordings, and can be "
         "judged, turned round or reasoned from.",
         "interp.verdict.depth.judging"),
    Term("relearning", VERDICT,
         "A short low-rank tune beside the tuned model's weights that teaches answers back. What was "
         "only covered takes fewer steps than what was never known.",
         "interp.verdict.depth.judging", formula="saved = 1 − steps(old) / steps(another's answer)"),
    Term("claim", CLAIM,
         "A sentence about what a model represents: an attribute, readable at a site, and used there. "
         "It is graded by probes and interventions together.",
         "interp.verdict.claims"),
    Term("supported", CLAIM,
         "The attribute is readable above its control task, and swapping its direction moves the "
         "output more than control-task directions do.",
         "interp.verdict.claims"),
    Term("decodable-inert", CLAIM,
         "The attribute is readable, and was measured not to be used at this site.",
         "interp.verdict.claims"),
    Term("causal-uncharacterised", CLAIM,
         "The whole state at this site moves the output, but the attribute is not readable there.",
         "interp.verdict.claims"),
    Term("null", CLAIM,
         "The attribute is not readable at this site, and swapping the whole state does nothing.",
         "interp.verdict.claims"),
    Term("not measured", CLAIM,
         "Probes read the attribute here, and no intervention tested it.",
         "interp.verdict.claims", is_not="that it is not used"),
)  # fmt: skip
