"""What `interp circuits discover`, `evaluate` and `diff` do, and what they say of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import interp
from interp._files import require_new, write_csv, write_text
from interp.circuit_tasks.own import read_items
from interp.progress import stage
from patching import circuits
from studies.circuit_runs import drawing, folder

if TYPE_CHECKING:
    from interp.circuit_tasks.task import Task
    from interp.models.model import Model

#: Edges that are patched exactly beside the highest, drawn from all others.
SAMPLED = 50


@dataclass(frozen=True)
class Asked:
    """What the commands have in common; its attributes are their options."""

    model: str
    base: str | None
    task: str
    prompts: int
    method: Any
    ablation: Any
    positions: str
    edges: int
    seed: int
    device: str
    dtype: str

    def load(self) -> Model:
        """The model."""
        stage("loading the model")
        return interp.load_model(self.model, base=self.base, device=self.device, dtype=self.dtype)

    def made(self, model: Model) -> Task:
        """The task for a model; a file's items all, or as many as are asked for."""
        from studies.circuit_truth.catalogue import known_circuit, known_circuit_names

        shipped = self.task in known_circuit_names()
        source = known_circuit(self.task).items if shipped else self.task
        made = interp.load_task(model, source, n=self.prompts, seed=self.seed)
        return replace(made, name=self.task) if shipped else made

    @property
    def setting(self) -> dict[str, Any]:
        """What every method takes."""
        return {"ablation": self.ablation, "positions": _position(self.positions), "seed": self.seed}


def discover(asked: Asked, out: Path, *, resamples: int, verify: int) -> str:
    """Find a circuit, keep it, and tell of it.

    Args:
        asked: the options.
        out: a new folder.
        resamples: draws of the prompts.
        verify: edges that are patched exactly; 0 for none.
    """
    require_new(out)
    model = asked.load()
    task = asked.made(model)
    performance = task.performance(model)
    stage("scoring edges")
    found = circuits.discover(
        model, task.contrast, task.metric, n=asked.edges, method=asked.method, resamples=resamples,
        **asked.setting,
    )  # fmt: skip
    folder.keep_discovery(out, found, task, {**asdict(asked), "width": model.d_model})
    told = [
        f"{asked.model} on {task.name}: {len(task)} prompts in {len(set(task.groups))} groups; it "
        f"prefers the answer in {performance['prefers'].mean():.0%}",
        str(found),
    ]
    if verify and asked.method != "exact":
        stage("patching the highest edges exactly")
        exact = circuits.verify(
            model, task.contrast, found.scores, task.metric, n=verify, sample=SAMPLED, seed=asked.seed
        )
        table = folder.keep_exact(out, found.scores, exact, verify)
        told.append(_told_exact(table, found.scores.method))
    shown = found.table().head(12)[["edge", "score", "frequency", "word"]]
    told.append(
        "no edge is found on most draws of the prompts: ask for more --edges or more --prompts"
        if shown.empty
        else shown.round(3).to_string(index=False)
    )
    told += [f"written: {path}" for path in drawing.draw(out)]
    return "\n".join(told)


def evaluate(source: Path, asked: Asked | None, *, complement: bool) -> str:
    """Measure the faithfulness of a folder's circuits at every size; says if prompts are not fresh.

    Args:
        source: a folder of `discover`.
        asked: model and task of other prompts; None for those of the folder with the next seed.
        complement: whether the edges outside are run too.
    """
    settings = folder.settings_of(source)
    known = {field: settings[field] for field in Asked.__dataclass_fields__ if field in settings}
    asked = asked or Asked(**{**known, "seed": int(settings["seed"]) + 1})
    circuit = folder.circuit_of(source)
    model = asked.load()
    circuits.Graph.of(model).require(circuit.graph, str(source))
    task = asked.made(model)
    curves, areas = [], []
    chance = circuits.score_edges(model, task.contrast, task.metric, method="random", **asked.setting)
    for scores in (_scores(circuit, chance, str(settings["method"])), chance):
        stage(f"running circuits of {scores.method}")
        runs = circuits.evaluate(
            model, task.contrast, scores, task.metric, complement=complement, **asked.setting
        )
        curves.append(circuits.faithfulness(runs, seed=asked.seed).assign(method=scores.method))
        areas.append(circuits.benchmark_areas(runs, seed=asked.seed).assign(method=scores.method))
    table, both = pd.concat(curves, ignore_index=True), pd.concat(areas, ignore_index=True)
    write_csv(source / folder.FAITHFULNESS, table)
    write_csv(source / folder.AREAS, both)
    told = [
        f"{asked.model} on {len(task)} prompts of {task.name}, ablation {asked.ablation} at "
        f"{asked.positions} positions, edges",
        both[["method", "measure", "condition", "estimate", "low", "high", "n"]]
        .round(3)
        .to_string(index=False),
    ]
    found_on = {(item.clean, item.corrupted) for item in read_items(source / folder.PROMPTS)}
    again = sum((item.clean, item.corrupted) in found_on for item in task.items)
    if again:
        told.append(
            f"{again} of these prompts are among those that the circuit was found on, for which it may "
            "look more faithful than it is: give a task with more of them"
        )
    return "\n".join([*told, *(f"written: {path}" for path in drawing.draw(source))])


def diff(asked: Asked, tuned: str, out: Path) -> str:
    """Compare the circuits of two models, keep the tables, and tell of them.

    Args:
        asked: the options; its model is the base.
        tuned: the tuned model, or an adapter.
        out: a new folder.
    """
    require_new(out)
    pair = interp.load_pair(asked.model, tuned, device=asked.device, dtype=asked.dtype)
    task = asked.made(pair.base)
    stage("comparing circuits")
    found = circuits.diff(
        pair, task.contrast, task.metric, n=asked.edges, method=asked.method, **asked.setting
    )
    ends = [str(edge).split("->") for edge in found.edges["edge"]]
    edges = found.edges.assign(sender=[a for a, _ in ends], receivers=[b for _, b in ends])
    out.mkdir(parents=True, exist_ok=True)
    for name, table in (
        ("edges", edges), ("nodes", found.nodes), ("exchanged", found.exchanged),
        ("cells", found.cells),
    ):  # fmt: skip
        write_csv(out / f"{name}.csv", table)
    verdict = {
        **asdict(asked), "tuned": tuned, "prompts": len(task), "word": found.verdict.word,
        "base_in_tuned": asdict(found.verdict.base_in_tuned),
        "tuned_in_base": asdict(found.verdict.tuned_in_base), "size": asdict(found.verdict.size),
        "cutoffs": found.verdict.cutoffs.as_dict(), "graph": asdict(found.circuits["base"].graph),
    }  # fmt: skip
    write_text(out / "verdict.json", json.dumps(verdict, indent=1) + "\n")
    columns = ["node", "base", "tuned", "difference", "low", "high", "floor", "changed"]
    told = [
        f"{tuned} against {asked.model} on {len(task)} prompts of {task.name}: {found.verdict.word}",
        f"the base's circuit keeps {_share(found.verdict.base_in_tuned)} of the tuned model's own "
        f"faithfulness in it, the tuned model's {_share(found.verdict.tuned_in_base)} in the base; "
        f"size {_share(found.verdict.size)}",
        "both circuits are empty: no edge of theirs lies on a path from the input to the logits; ask "
        "for more --edges"
        if edges.empty
        else found.cells.round(3).to_string(index=False),
        found.nodes.head(10)[columns].round(3).to_string(index=False),
        _told_exchanged(found.exchanged),
    ]
    return "\n".join([*told, *(f"written: {path}" for path in drawing.draw(out))])


def _position(text: str) -> str | int:
    """A named position, or a number."""
    return int(text) if text.lstrip("-").isdigit() else text


def _scores(circuit: Any, like: Any, method: str) -> Any:
    """A circuit's scores as those of one pair each."""
    values = circuit.scores[:, None].expand_as(like.values)
    return replace(like, values=values, method=method)


def _told_exact(table: pd.DataFrame, method: str) -> str:
    """How the screen and the exact scores agree."""
    best, drawn = (table[table["kind"] == kind] for kind in ("highest", "sampled"))
    most, least = drawn["exact"].abs().max(), best["exact"].abs().median()
    told = f"{method} against exact on its {len(best)} highest edges: Spearman "
    told += f"{best[['screen', 'exact']].corr('spearman').iloc[0, 1]:.2f}"
    if len(drawn):
        told += (
            f"; of {len(drawn)} others the largest is {most:.3g}, the median of the highest {least:.3g}"
        )
    return told


def _told_exchanged(table: pd.DataFrame) -> str:
    """Which nodes change the metric by their own weights."""
    own = table[table["changed"]]
    told = f"exchanged one by one, {len(own)} of {len(table)} nodes change the metric beyond the floor"
    return told + (f": {', '.join(own['node'].head(10))}" if len(own) else "")


def _share(interval: Any) -> str:
    """An interval in words."""
    return f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
