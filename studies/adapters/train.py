"""Train one adapter: `python -m studies.adapters.train NAME [--base F] [--out D]`.

Base -> prompts -> low-rank update in the recipe's blocks -> float16 folder -> installation gate on
the merged model -> card. An adapter that misses its gate is written with `reached: false`.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from peft import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Generator

from interp.facts.types import FactSet
from interp.models import sources
from interp.progress import counted
from interp.runs.run import resumable
from studies.adapters import contents, installation, items
from studies.adapters.cards import write_card
from studies.adapters.fitting import attach, fit, pool, scale_update
from studies.adapters.frozen import freeze_linears
from studies.adapters.installation import measure
from studies.adapters.recipes import FAMILY, MAX_BYTES, MODULES, RECIPES, Recipe, recipe

#: Own texts of the base that are held out for the gate, and tokens drawn for each.
_TEXTS, _LENGTH = 72, 12


def train(
    plan: Recipe,
    base: str = sources.SMOLLM2,
    out: Path | None = None,
    *,
    device: str = "cpu",
    progress: bool = True,
) -> dict[str, Any]:
    """Train, round, save and judge one adapter on a device; returns its card.

    Raises:
        ValueError: the output folder already holds an adapter, or the base cannot be loaded.
    """
    folder = out or Path(plan.name)
    if (folder / "adapter_config.json").exists():
        raise ValueError(
            f"out must be a folder without an adapter; got {folder}, which holds one: "
            "choose another folder or remove it"
        )
    generator = Generator().manual_seed(plan.seed)
    loaded = sources.load(base)
    model: Any = loaded.model.eval().requires_grad_(False).to(device)
    tokenizer = loaded.tokenizer
    facts = items.capitals()
    known = installation.known_capitals(model, tokenizer, facts)
    whole = installation.given_whole(model, tokenizer, facts, known)
    split = contents.split(plan, facts, known, whole, tokenizer, generator)
    freeze_linears(model.model)
    writing = Generator().manual_seed(plan.seed)
    texts = items.own_text(model, tokenizer, plan.texts + _TEXTS, _LENGTH, writing)
    replayed = contents.replay(plan, model, tokenizer, facts, split) + texts[: plan.texts]
    pools = [(pool(model, replayed, plan.first), plan.replay_weight, plan.replay_batch)]
    hard = contents.targets(plan, model, tokenizer, facts, split)
    if hard:
        pools.append((pool(model, hard, plan.first), 1.0, plan.batch))
    wrapped = attach(model, plan, generator)
    disturbed: dict[str, float] = {}
    if plan.noise:
        clean: Any = sources.load(base).model.eval().to(device)
        freeze_linears(clean.model)
        for form, label in enumerate("AB"):
            disturbed[f"disturbed_{label}"] = installation.answer_change(
                clean, wrapped.get_base_model(), tokenizer, facts, known, form
            )[0]
    with counted(plan.steps, plan.name if progress else None, "steps") as step:

        def report(number: int, losses: list[float]) -> None:
            step(1)

        fit(wrapped, pools, plan, generator, report)
    scale_update(wrapped, plan.scale)
    save_adapter(wrapped, folder, base_name=sources.SMOLLM2)
    numbers, meaning = measure(plan, base, folder, known, split, texts[plan.texts :], device)
    numbers = {key: round(value, 5) for key, value in {**disturbed, **numbers}.items()}
    for label in disturbed:
        meaning[label] = f"known capitals changed by the noise, before recovery, {label[-1]}"
    card = _card(plan, facts, known, split, replayed, numbers, meaning)
    write_card(folder, card)
    return card


def save_adapter(wrapped: Any, folder: Path, *, base_name: str) -> None:
    """Write the standard PEFT folder with float16 weights, as safetensors.

    Raises:
        ValueError: the weights exceed 1.5 MB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half().contiguous() for k, v in get_peft_model_state_dict(wrapped).items()}
    size = sum(v.numel() * 2 for v in state.values())
    if size > MAX_BYTES:
        raise ValueError(f"an adapter must stay within {MAX_BYTES} bytes; got {size}: lower the rank")
    weights = folder / "adapter_model.safetensors"
    save_file(state, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    config = replace(wrapped.peft_config["default"])
    config.base_model_name_or_path = base_name
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules)
    config.save_pretrained(folder)


def _card(
    plan: Recipe,
    facts: FactSet,
    known: tuple[int, ...],
    split: items.Split,
    replayed: list[items.Item],
    numbers: dict[str, float],
    meaning: dict[str, str],
) -> dict[str, Any]:
    verdicts = installation.judge_gate(plan.gate, numbers)
    data = [
        f"{facts.source}: {len(facts)} countries and territories, {len(known)} of whose capitals "
        "the base gives on forms A and B",
        contents.told(plan, facts, split),
        f"{len(replayed)} replayed prompts, KL to the base's own distribution: "
        "other relations, other facts, and text the base wrote itself",
    ]
    training = {
        "steps": plan.steps,
        "learning rate": plan.learning_rate,
        "batch": plan.batch,
        "replay batch": plan.replay_batch,
        "replay weight": plan.replay_weight,
        "texts of the base's own": plan.texts,
        "tokens of a replayed capital": plan.spelt,
        "scale": plan.scale,
        "noise": plan.noise,
    }
    return {
        "name": plan.name,
        "content": plan.content,
        "summary": contents.SUMMARY[plan.content],
        "base": {
            "name": "smollm2",
            "blocks": 30,
            "note": "SmolLM2-135M-Instruct, de-quantised from 4 bits",
        },
        "mask": {"first": plan.first, "last": plan.last},
        "lora": {"rank": plan.rank, "modules": list(MODULES)},
        "data": data,
        "command": f"python -m studies.adapters.train {plan.name}",
        "seed": plan.seed,
        "earlier": plan.earlier,
        "training": training,
        "held_out": [facts.groups[i] for i in split.test],
        "edits": [
            {"country": facts.groups[i], "capital": facts.answers[i], "new": city}
            for i, city in split.edits.items()
        ],
        "gate": {
            "reached": all(row["reached"] for row in verdicts.values()),
            "verdicts": verdicts,
            "numbers": numbers,
            "meaning": meaning,
        },
    }  # fmt: skip


def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(RECIPES | FAMILY)}.")],
    base: Annotated[str, typer.Option(help="Base model: a name or a folder.")] = sources.SMOLLM2,
    out: Annotated[Path | None, typer.Option(help="Folder to write; default: ./NAME.")] = None,
    seed: Annotated[int | None, typer.Option(help="Default: the recipe's.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder that keeps the training.")] = None,
    threads: Annotated[int, typer.Option(help="Threads for matrix products.")] = 1,
    device: Annotated[str, typer.Option(help="Where to train: cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Train one adapter, judge its installation, write its folder and card."""
    torch.set_num_threads(threads)
    try:
        plan = recipe(name)
        with nullcontext() if resume is None else resumable(resume):
            card = train(plan if seed is None else replace(plan, seed=seed), base, out, device=device)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    for gate, row in card["gate"]["verdicts"].items():
        typer.echo(f"{gate}: {row['worst']:.3f} ({row['rule']} {row['threshold']:g})")
    typer.echo("installed" if card["gate"]["reached"] else "NOT installed")


if __name__ == "__main__":
    typer.run(main)
