"""What a paper needs of a run: the methods with its numbers, how to cite, and the exact command."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from html import unescape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interp.facts.prompts.files import TEXT
from interp.facts.tables import SUFFIXES
from interp.report.prose import template
from interp.verdict.claims import NOT_MEASURED
from interp.verdict.outcomes import Outcomes
from interp.verdict.prompts.asked import told_of
from interp.verdict.summary import interval, number, share


def methods_text(verdict: Mapping[str, Any], outcomes: Outcomes, *, base: str, tuned: str) -> str:
    """Methods of a run in sentences, with its numbers filled in; paragraphs are parted by blank lines.

    Args:
        verdict: has the keys of verdict.json.
        outcomes: what both models said.
        base: name of the base model.
        tuned: name of the tuned model.
    """
    provenance, limits = verdict.get("provenance") or {}, verdict["thresholds"]
    claims = [claim for claim in verdict["claims"] if claim["grade"] != NOT_MEASURED]
    counted = Counter(claim["grade"] for claim in claims)
    probes = next((v for k, v in provenance.items() if k.startswith("probe.")), None)
    said = template("methods.txt.j2").render(
        v=verdict,
        t={name: f"{value:g}" if isinstance(value, float) else value for name, value in limits.items()},
        s=verdict.get("shared_shift"),
        p={**dict.fromkeys(("base", "tuned", "facts", "prompts", "prompt", "packages")), **provenance},
        base=base,
        tuned=tuned,
        n_forms=len(outcomes.forms),
        n_blocks=len((verdict.get("responsibility") or {}).get("blocks", ())),
        percent=f"{100 * (1 - limits['alpha']):g}",
        claims=claims,
        attributes=sorted({claim["attribute"] for claim in claims}),
        grades=", ".join(f"{n} {grade}" for grade, n in counted.most_common()),
        probes=probes,
        share=share,
        number=number,
        interval=interval,
    )
    paragraphs = re.split(r"\n\s*\n", told_of(unescape(said), verdict.get("asked")))
    return "\n\n".join(text for part in paragraphs if (text := " ".join(part.split())))


def bibtex(provenance: Mapping[str, Any]) -> str:
    """BibTeX entry of the software, in the version that made the run.

    Args:
        provenance: of the verdict; names the version under packages.
    """
    used = (provenance.get("packages") or {}).get("interp") or version("interp")
    return "\n".join(
        (
            "@software{interp,",
            "  title = {interp: what tuning changed in a language model, where, and of what kind},",
            "  author = {{The interp authors}},",
            f"  version = {{{used}}},",
            "  year = {2026},",
            "}",
        )
    )


def command(provenance: Mapping[str, Any]) -> str:
    """Command that makes the same comparison; empty where the run does not say what it compared.

    Args:
        provenance: of the verdict.
    """
    facts, prompts = provenance.get("facts") or {}, provenance.get("prompts") or {}
    source = str(facts.get("source") or prompts.get("source") or "")
    asked = source if Path(source).suffix in (TEXT, *SUFFIXES) else facts.get("name")
    if not (provenance.get("base") and provenance.get("tuned") and asked):
        return ""
    options = {
        "base": provenance["base"]["source"],
        "tuned": provenance["tuned"]["source"],
        "prompts" if prompts else "facts": asked,
        "tokens": prompts.get("tokens"),
        "readout": prompts.get("readout"),
        "prompt": provenance.get("prompt"),
        "null": (provenance.get("null") or {}).get("source"),
        "device": provenance.get("device"),
        "dtype": str(provenance.get("dtype") or "").removeprefix("torch."),
        "seed": provenance.get("seed"),
    }
    usual = {"readout": "tuned", "prompt": "raw", "device": "cpu", "dtype": "float32", "seed": 0}
    told = [
        f"--{name} {shlex.quote(str(value))}"
        for name, value in options.items()
        if value not in (None, "", usual.get(name))
    ]
    told += ["--depth"] if provenance.get("depth") else []
    return " ".join(["interp compare", *told, "--out NEW_FOLDER"])
