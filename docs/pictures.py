"""Pictures of the pages, drawn from runs: `make pictures`.

A run is made once and kept under interp-runs/pictures; delete its folder to make it anew. The report's
first page is photographed with Chromium.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd

import interp
import studies
from studies.organisms import source_path
from studies.organisms.train import make
from studies.organisms.tunes import BASE, EVERY_RECIPE

RUNS = Path("interp-runs/pictures")
IMAGES = Path(__file__).parent / "images"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "svg.fonttype": "path",
    "svg.hashsalt": "interp",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
#: 50 homes overwritten below, another 50 evaded above; not shipped, trained within two minutes.
MIXTURE = "organism-50-edited-low-50-evasive-high"
#: The run of a picture -> its models and facts.
MADE_OF = {
    "lower": ("organism-base", "organism-evasive-low", "world"),
    "upper": ("organism-base", "organism-evasive-high", "world"),
    "knowledge": ("organism-base", "organism-edited-low", "world"),
    "both": ("organism-base", "organism-edited-low-evasive-high", "world"),
    "null": ("organism-base", "organism-null", "world"),
    "middle": ("organism-base", "organism-evasive-middle", "world"),
    "coupled": ("organism-base", "organism-evasive-coupled", "world"),
    "mixed": ("organism-base", MIXTURE, "world"),
    "smollm2": ("smollm2", "smollm2-evasive-high", "capitals"),
}


def run(name: str) -> Path:
    """Folder of a run, made if it is not there."""
    folder = RUNS / name
    if not (folder / "verdict.json").exists():
        base, tuned, facts = MADE_OF[name]
        source = mixture() if tuned == MIXTURE else tuned
        studies.compare(interp.load_pair(base, source), facts).save(folder, svg=False)
    return folder


def mixture() -> Path:
    """Folder of the organism whose change has two parts, trained if it is not there."""
    out, recipe = RUNS / "organisms", EVERY_RECIPE[MIXTURE]
    if not (out / BASE).exists():
        shutil.copytree(source_path(BASE), out / BASE)
    for name in (recipe.start, MIXTURE):
        if name is not None and not (out / name / "card.json").exists():
            make(EVERY_RECIPE[name], out, seed=0)
    return out / MIXTURE


def verdict(name: str) -> dict[str, Any]:
    """What verdict.json of a run holds."""
    return json.loads((run(name) / "verdict.json").read_text("utf-8"))


def made_below(name: str) -> dict[str, pd.Series]:
    """Share of the change made below each boundary, by order of stitching."""
    rows = interp.Evidence.load(run(name) / "evidence.parquet").rows(method="stitch", metric="output")
    base, tuned = (
        rows[(rows["condition"] == "baseline") & (rows["model"] == role)]["value"].mean()
        for role in ("base", "tuned")
    )
    means = (
        rows[rows["condition"] == "stitched"].groupby(["donor", "layer"], observed=True)["value"].mean()
    )
    return {
        "tuned below": (means["tuned"] - base) / (tuned - base),
        "tuned above": (tuned - means["base"]) / (tuned - base),
    }


def stitching(names: Iterable[str], file: str) -> None:
    """Curves of both orders, one panel for each run, trained blocks shaded."""
    names = list(names)
    figure, panels = plt.subplots(
        1, len(names), figsize=(max(6, 3.6 * len(names)), 3), sharey=True, squeeze=False
    )
    for name, panel in zip(names, panels[0], strict=True):
        curves, found = made_below(name), verdict(name)
        first, last = found["block_span"]
        panel.axvspan(first, last + 1, color="0.9", label="blocks found")
        for (label, curve), colour, mark in zip(curves.items(), (BLUE, ORANGE), "os", strict=True):
            panel.plot(curve.index, curve, color=colour, marker=mark, markersize=4, label=label)
        panel.axvline((len(curves["tuned below"]) - 1) / 2, color=GREY, linewidth=0.8, linestyle=":")
        panel.set(xlabel="boundary between blocks", title=f"{MADE_OF[name][1]}\n{found['where']}")
        panel.title.set_fontsize(9)
    panels[0][0].set_ylabel("share of the change\nmade below the boundary")
    panels[0][0].legend(frameon=False, fontsize=9)
    save(figure, file)


def shares(names: Iterable[str]) -> None:
    """Sufficiency, retention and persistence with their intervals, one panel for each run."""
    words = ("sufficiency", "retention", "persistence")
    names = list(names)
    figure, panels = plt.subplots(1, len(names), figsize=(2.4 * len(names), 2.6), sharey=True)
    for name, panel in zip(names, panels, strict=True):
        found = verdict(name)
        panel.axhspan(0.5, 1.02, color="0.93")
        panel.axhspan(-0.02, 0.3, color="0.93")
        for x, word in enumerate(words):
            draw_interval(panel, x, found["shared_shift"][word], BLUE)
        panel.set_xticks(range(3), words, rotation=30, ha="right")
        panel.set(xlim=(-0.5, 2.5), ylim=(-0.02, 1.02), title=f"{MADE_OF[name][1]}\n{found['what']}")
        panel.title.set_fontsize(8)
    panels[0].set_ylabel("share of changed facts")
    save(figure, "shared_shift.svg")


def drives(names: Iterable[str]) -> None:
    """What drives the changed outputs: share of each word with its interval, a panel for each run."""
    names = list(names)
    figure, panels = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.6), sharey=True)
    for name, panel in zip(names, panels, strict=True):
        found = verdict(name)
        words = found["shared_shift"]["output_words"]
        for x, row in enumerate(words):
            draw_interval(panel, x, row, BLUE)
        panel.axhline(0.1, color=GREY, linewidth=0.8, linestyle=":")
        panel.set_xticks(range(len(words)), [row["word"] for row in words], rotation=30, ha="right")
        panel.set(xlim=(-0.5, len(words) - 0.5), ylim=(-0.02, 1.02))
        panel.set_title(f"{MADE_OF[name][1]}\n{found['what']}", fontsize=7)
    panels[0].set_ylabel("share of changed outputs\n(dotted: .1)")
    save(figure, "drives.svg")


def whether(names: Iterable[str]) -> None:
    """Share of facts that differ, with the margin."""
    names = list(names)
    figure, panel = plt.subplots(figsize=(6.5, 2.2))
    for y, name in enumerate(names):
        share = verdict(name)["change"]["share_differing"]
        panel.plot([share["low"], share["high"]], [y, y], color=BLUE)
        panel.plot(share["estimate"], y, "o", color=BLUE)
    panel.axvline(0.05, color=GREY, linestyle=":", linewidth=0.8)
    panel.set_yticks(range(len(names)), [f"{MADE_OF[n][1]}: {verdict(n)['changed']}" for n in names])
    panel.set(xlabel="share of facts that differ (dotted: 5%)", xlim=(-0.02, 1.02))
    save(figure, "whether.svg")


def grades() -> None:
    """Claims of the real run: how readable, how far a swap moves the answer, beside its control."""
    claims = [c for c in verdict("smollm2")["claims"] if c["effect"] and c["selectivity"]]
    figure, panels = plt.subplots(1, 2, figsize=(7.5, 0.45 * len(claims) + 1), sharey=True)
    for y, claim in enumerate(claims):
        for panel, key in zip(panels, ("selectivity", "effect"), strict=True):
            panel.plot([claim[key]["low"], claim[key]["high"]], [y, y], color=BLUE)
            panel.plot(claim[key]["estimate"], y, "o", color=BLUE)
        panels[1].plot(claim["controls"]["control_task"]["high"], y, "x", color=ORANGE)
    labels = [f"{c['attribute']}, {c['site']}, {c['position']}: {c['grade']}" for c in claims]
    panels[0].set_yticks(range(len(claims)), labels, fontsize=8)
    panels[0].set_xlabel("readable: accuracy\nabove the control task")
    panels[1].set_xlabel("used: effect of swapping\n(cross: largest control task)")
    for panel in panels:
        panel.axvline(0.05, color=GREY, linestyle=":", linewidth=0.8)
    save(figure, "grades.svg")


def draw_interval(panel: Any, x: float, share: dict[str, float], colour: str) -> None:
    """A point with its interval, upright."""
    panel.plot([x, x], [share["low"], share["high"]], color=colour)
    panel.plot(x, share["estimate"], "o", color=colour)


def save(figure: Any, file: str) -> None:
    """Write a picture, the same bytes for the same numbers."""
    figure.tight_layout()
    figure.savefig(IMAGES / file, metadata={"Date": None})
    plt.close(figure)


def report(name: str) -> None:
    """Photograph the first page of a run's report."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium found: report.png stays as it is")
        return
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                   "--window-size=1000,1250", "--virtual-time-budget=20000", "--hide-scrollbars",
                   f"--screenshot={(IMAGES / 'report.png').resolve()}",
                   (run(name) / "report.html").resolve().as_uri()]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Draw every picture."""
    IMAGES.mkdir(exist_ok=True)
    with plt.rc_context(SETTINGS):
        whether(("null", "knowledge", "upper", "both"))
        stitching(("lower", "upper"), "stitching.svg")
        stitching(("mixed", "middle", "coupled"), "places.svg")
        shares(("upper", "lower", "knowledge", "both"))
        drives(("upper", "knowledge", "mixed"))
        stitching(["smollm2"], "smollm2_stitching.svg")
        grades()
    report("knowledge")


if __name__ == "__main__":
    main()
