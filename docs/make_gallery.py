"""Make docs/gallery.md: every figure beside the call that made it, on paper and on the screen.

    python docs/make_gallery.py

The models are the shipped organisms, so nothing is downloaded. Images of the screen
need a Chrome or Chromium.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

import interp
import patching
import probes
import studies
from interp.figures import Figure

FOLDER = Path(__file__).parent / "gallery"

HEAD = """# Gallery

Every figure, with the call that made it: at the left on paper (matplotlib, one column of ICML), at the
right on the screen (plotly). This page is made by `docs/make_gallery.py`; `model` and `pair` are the
shipped organisms `organism-base` and `organism-evasive-high`, `facts` are 40 facts of their world,
`one` is a pair of prompts and `pairs` are many, `sets` are states that are labelled by region,
`run = studies.compare(pair, facts)`, and
`found = patching.circuits.discover(model, pairs, interp.logit_difference(pairs), n=40)`; `screened` are
its edges beside exact scores, `attention` the patterns of three heads on one prompt, whose tokens are
`words`.
"""

ROW = """
## {name}

{caption}

```py
{call}
```

<table><tr><td><img src="gallery/{name}_paper.svg" alt="{name}, on paper"></td>
<td><img src="gallery/{name}_screen.svg" alt="{name}, on the screen"></td></tr></table>
"""

#: The calls, by the name of the figure that they make.
CALLS = {
    "patch_grid": "patching.patch_sites(model, one, streams, interp.logit_difference(one)).plot()",
    "patch_grid_noise": "patching.patch_sites(model, one, streams, interp.logit_difference(one), "
    'direction="noise").plot()',
    "head_ranking": "patching.attribute(model, pairs, heads, interp.logit_difference(pairs), "
    'positions="all").plot(most=10)',
    "handover_curves": 'run.evidence.select(method="handover").plot()',
    "handover_heatmap": "figures.handover_heatmap(\n"
    "    figures.tables.handover_pairs(run.evidence, smallest=1.0, most=10), handover=None\n"
    ")",
    "stitch_curves": "figures.stitch_curves(figures.tables.stitch_curves(run.evidence, "
    "run.outcomes), cut=3, handover=None)",
    "cross_patch_curves": 'run.evidence.select(method="cross_patch").plot()',
    "shared_shift_curves": 'run.evidence.select(method="shift").plot()',
    "responsibility_bars": "figures.responsibility_bars(gallery.responsibility(run.verdict.to_dict()), "
    "span=None, handover=None)",
    "probe_curves": 'run.evidence.select(method="probe", metric="region = north").plot()',
    "transfer_curves": 'run.evidence.select(method=["transfer", "transfer_control"], '
    'metric="region = north").plot()',
    "claim_dots": "figures.claim_dots(gallery.claims(run.verdict.to_dict()), margin=0.05)",
    "generalisation_heatmap": "figures.generalisation_heatmap(probes.generalisation_matrix("
    "probes.generalisation(sets)))",
    "forest": "figures.forest(studies.summary([run]))",
    "circuit_graph": "figures.circuit_graph(found.table())",
    "edge_heatmap": "figures.edge_heatmap(found.table())",
    "node_heatmap": "figures.node_heatmap(\n"
    "    patching.circuits.diff(pair, pairs, interp.logit_difference(pairs), n=40).nodes\n"
    ")",
    "faithfulness_curves": "figures.faithfulness_curves(\n"
    "    patching.circuits.faithfulness(\n"
    "        patching.circuits.evaluate(model, pairs, found.scores, interp.logit_difference(pairs))\n"
    "    )\n"
    ")",
    "score_scatter": 'figures.score_scatter(screened, screen="eap_ig", unit="logits")',
    "attention_patterns": "figures.attention_patterns(figures.attention_table(attention), "
    "tokens=words)",
}


def names() -> dict[str, Any]:
    """What the calls refer to."""
    from interp import figures
    from interp.report import gallery

    model = interp.load_model("organism-base")
    pair = interp.load_pair("organism-base", "organism-evasive-high")
    facts = interp.load_facts("world").subset(list(range(40)))
    prompts, answers = facts.prompts(0), facts.answers
    differing = [i for i in range(20) if answers[i] != answers[i + 20]]
    clean, corrupted = ([i + shift for i in differing] for shift in (0, 20))
    sides = [[texts[i] for i in rows] for texts in (prompts, answers) for rows in (clean, corrupted)]
    everything, site, sets = interp.load_facts("world"), interp.boundary(6, 6), {}
    south = [region == "south" for region in everything.attribute("region")]
    for form in (0, 1):
        examples = interp.Examples.from_text(
            model, everything.prompts(form), groups=everything.groups, labels=south
        )
        sets[f"form {form}"] = interp.collect(model, examples, site)[site]
    pairs = interp.Contrast.from_text(model, *sides)
    found = patching.circuits.discover(model, pairs, interp.logit_difference(pairs), n=40)
    return {
        "found": found, "screened": screened(model, pairs, found), **attended(model, prompts[0]),
        "interp": interp, "patching": patching, "probes": probes, "studies": studies,
        "figures": figures, "gallery": gallery, "model": model, "sets": sets,
        "pairs": pairs, "pair": pair,
        "one": interp.Contrast.from_text(
            model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ),
        "streams": interp.every_layer(interp.Kind.RESID_PRE, model.n_layers),
        "heads": interp.every_head(interp.Kind.Z, model.n_layers, model.n_heads),
        "run": studies.compare(pair, facts),
    }  # fmt: skip


def screened(model: Any, pairs: Any, found: Any) -> pd.DataFrame:
    """Edges of a discovery beside their exact scores."""
    metric = interp.logit_difference(pairs)
    exact = patching.circuits.verify(model, pairs, found.scores, metric, n=60, sample=60)
    best = set(found.scores.order(absolute=True)[:60].tolist())
    rows = exact.mean.isfinite().nonzero()[:, 0].tolist()
    return pd.DataFrame(
        {
            "edge": [found.graph.names[i] for i in rows],
            "screen": found.scores.mean[rows].tolist(),
            "exact": exact.mean[rows].tolist(),
            "kind": ["highest" if i in best else "sampled" for i in rows],
        }
    )


def attended(model: Any, prompt: str) -> dict[str, Any]:
    """Patterns of three heads on a prompt, and its tokens."""
    sites = [interp.Site(interp.Kind.PATTERN, *place) for place in ((0, 1), (3, 3), (4, 2))]
    ids = interp.Examples.from_text(model, [prompt]).tokens[0]
    return {
        "attention": interp.collect(model, [prompt], sites, positions="all"),
        "words": [model.tokenizer.decode([token]) for token in ids.tolist()],
    }


def main() -> None:
    """Make the images and the page."""
    FOLDER.mkdir(exist_ok=True)
    known = names()
    drawn: dict[str, Figure] = {name: eval(call, known) for name, call in CALLS.items()}
    page = [HEAD]
    with tempfile.TemporaryDirectory() as folder:
        for name, figure in drawn.items():
            image, _, _, caption = figure.save(Path(folder) / f"{name}.svg", venue="icml")
            (FOLDER / f"{name}_paper.svg").write_bytes(image.read_bytes())
            page.append(ROW.format(name=name, caption=caption.read_text().strip(), call=CALLS[name]))
            figure.write_image(FOLDER / f"{name}_screen.svg")
    (FOLDER.parent / "gallery.md").write_text("".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
