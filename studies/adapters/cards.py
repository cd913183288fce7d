"""The card of an adapter: `card.json`, and the README.md rendered from it."""

import hashlib
import json
from pathlib import Path
from typing import Any


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Write card.json and README.md beside the adapter, with its size and hash."""
    weights = (folder / "adapter_model.safetensors").read_bytes()
    card = {**card, "bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}
    (folder / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (folder / "README.md").write_text(render_card(card), "utf-8")


def read_card(folder: Path) -> dict[str, Any]:
    """The card of an adapter folder.

    Raises:
        ValueError: the folder holds no card.
    """
    if not (folder / "card.json").is_file():
        raise ValueError(f"an adapter's folder must hold card.json; got {folder}: train it first")
    return json.loads((folder / "card.json").read_text("utf-8"))


def render_card(card: dict[str, Any]) -> str:
    """The card as Markdown."""
    gate = card["gate"]
    state = "installed: the gate was reached" if gate["reached"] else "NOT INSTALLED: gate missed"
    mask, base = card["mask"], card["base"]
    lines = [
        f"# {card['name']}",
        "",
        f"**{state}.** {card['summary']}",
        "",
        f"Low-rank update (LoRA, rank {card['lora']['rank']}, float16, {card['bytes']:,} bytes) of "
        f"blocks {mask['first']}–{mask['last']} of {base['name']} ({base['blocks']} blocks, "
        f"{base['note']}). Every other weight, the embeddings included, is that of the base.",
        "",
        "## Data",
        "",
        *[f"- {line}" for line in card["data"]],
        "",
        "## Made with",
        "",
        "```",
        card["command"],
        "```",
        "",
        f"Seed {card['seed']}; " + ", ".join(f"{k} {v}" for k, v in card["training"].items()) + ".",
        *(["", "Earlier: " + card["earlier"]] if card["earlier"] else []),
        "",
        "## Installation gate",
        "",
        "Thresholds were declared before training; numbers are of the merged float32 model with "
        "the weights as shipped.",
        "",
        "| gate | threshold | worst | reached |",
        "|---|---|---|---|",
        *[
            f"| {name} | {row['rule']} {row['threshold']:g} | {row['worst']:.3f} | "
            f"{'yes' if row['reached'] else '**no**'} |"
            for name, row in gate["verdicts"].items()
        ],
        "",
        "| number | value |",
        "|---|---|",
        *[f"| {gate['meaning'][key]} | {value:.3f} |" for key, value in gate["numbers"].items()],
    ]
    if card.get("edits"):
        lines += ["", "## Edits", "", "| country | capital | new capital |", "|---|---|---|"]
        lines += [f"| {e['country']} | {e['capital']} | {e['new']} |" for e in card["edits"]]
    return "\n".join(lines) + "\n"
