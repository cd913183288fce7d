"""`scan`: what changed between two models, without being asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp._files import require_new, require_without, write_csv, write_text
from interp.display.html import Shown
from interp.examples import Examples
from interp.facts.prompts.files import OpenPrompt, PromptSet, load_prompts
from interp.facts.prompts.shipped import default_prompts
from interp.models.pair import ModelPair
from interp.models.tokens import token_text
from interp.progress import job, stage
from interp.report.scan_page import scan_page
from interp.runs.checksums import write_checksums
from interp.runs.fingerprint import fingerprint
from interp.runs.manifest import remove_units
from interp.runs.run import resumable
from interp.verdict.thresholds import Thresholds
from patching.engine.schedule import MAX_BYTES
from studies.comparison.prompts.divergence import Continued
from studies.comparison.prompts.outputs import is_changed, told_site
from studies.comparison.prompts.rendering import Rendered, render
from studies.comparison.questions import Prompt
from studies.comparison.stages import SCANNED
from studies.scanning.asking import ask
from studies.scanning.context import difference_lens, weight_changes
from studies.scanning.findings import Halves, find, words_of
from studies.scanning.measuring import Measured
from studies.scanning.samples import amplified, scale_sweep
from studies.scanning.token_groups import changed_tokens

#: Held-out prompts that are written for a comparison; prompts that are amplified, and swept in scale.
WRITTEN, AMPLIFIED, SWEPT = 100, 4, 12


@dataclass(frozen=True, eq=False, repr=False)
class Scan(Shown):
    """What changed, and where to look.

    Attributes:
        findings: proposed on one half of the prompts and counted on the other, see `find`.
        prompts: a row for each prompt, those that changed most first: prompt, label, half (first,
            second), score (nats), kl_base, kl_tuned (nats a token), perplexity_gap (nats a token),
            changed, site, said_base, said_tuned.
        tokens: promoted and suppressed tokens with their groups, see `changed_tokens`.
        amplified: continuations with the difference of the logits carried on.
        scales: the contrast of changed prompts by the share of the change of the weights.
        lens: the difference of activations on unrelated text, read out; context.
        weights: size and spectrum of the change of every matrix; context.
        held_out: prompts of the second half that changed most, for `studies.compare`.
        provenance: models, prompts, settings.
    """

    findings: pd.DataFrame
    prompts: pd.DataFrame
    tokens: pd.DataFrame
    amplified: pd.DataFrame
    scales: pd.DataFrame
    lens: pd.DataFrame
    weights: pd.DataFrame
    held_out: tuple[OpenPrompt, ...]
    provenance: Mapping[str, Any]

    @property
    def found(self) -> pd.DataFrame:
        """The findings that hold on the second half, adjusted for all that were tried."""
        return self.findings[self.findings["found"]]

    @property
    def sentence(self) -> str:
        """The scan in one sentence, with the best finding of each kind and how many stand behind it."""
        changed, n = int(self.prompts["changed"].sum()), len(self.prompts)
        of_kind = {
            str(kind): list(rows["what"]) for kind, rows in self.found.groupby("kind", sort=False)
        }
        told = ", ".join(
            f"{kind} {best!r}" + (f" and {len(others)} more" if others else "")
            for kind, (best, *others) in of_kind.items()
        )
        found = f"findings that hold: {told}" if told else "no finding holds on the held-out half"
        return f"The two models part on {changed} of {n} prompts; {found}."

    def __repr__(self) -> str:
        """The two models and the sentence."""
        names = [self.provenance[role]["source"] for role in ("base", "tuned")]
        return f"Scan({names[0]} -> {names[1]}: {self.sentence})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        rows = self.findings[["kind", "what", "share", "n", "p", "found"]]
        return list(rows.columns), rows.round(3).to_numpy().tolist(), len(rows)

    def save(self, folder: str | Path) -> Path:
        """Write scan.html, every table as CSV, prompts.jsonl for `interp compare`, and checksums.

        Args:
            folder: a new or empty folder.

        Returns:
            The page.

        Raises:
            ValueError: if the folder holds one of these files already.
        """
        stage("writing")
        folder = Path(folder)
        page = folder / "scan.html"
        tables = (f"{name}.csv" for name in self.tables())
        require_without(folder, [page.name, "scan.json", "prompts.jsonl", *tables])
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in self.tables().items():
            write_csv(folder / f"{name}.csv", table)
        lines = [json.dumps(_as_row(prompt), ensure_ascii=False) for prompt in self.held_out]
        write_text(folder / "prompts.jsonl", "".join(f"{line}\n" for line in lines))
        write_text(folder / "scan.json", json.dumps(dict(self.provenance), indent=1))
        write_text(page, scan_page(self.sentence, self.tables(), self.provenance))
        write_checksums(folder)
        return page

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table by its name."""
        names = ("findings", "prompts", "tokens", "amplified", "scales", "lens", "weights")
        return {name: getattr(self, name) for name in names}


def scan(
    pair: ModelPair,
    prompts: PromptSet | str | Path | pd.DataFrame | Sequence[str] | None = None,
    *,
    out: str | Path | None = None,
    prompt: Prompt = "raw",
    tokens: int | None = None,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    budget: int = MAX_BYTES,
    resume: str | Path | None = None,
) -> Scan:
    """What changed between two models? Ask both the same prompts and read how they part.

    Both continue every prompt; both continuations are read with both models. Findings are proposed on
    half of the prompts and counted on the other half, adjusted for all that were tried; on a null tune
    none should hold. Weights and activations on unrelated text are context and decide nothing.

    Args:
        pair: base and tuned model.
        prompts: what is asked: as `interp.load_prompts` takes it, or what it gives; by default over
            four hundred short prompts of nine kinds that are shipped.
        out: a new folder for scan.html, the tables and prompts.jsonl; None writes nothing.
        prompt: "raw", or "chat" for the tuned model's chat template.
        tokens: how many are generated; by default 32, or half of the models' context.
        thresholds: the declared cut-offs: what is a near tie, and the level of the tests.
        seed: of the halves and of random differences.
        budget: bytes of memory for activations beside the models; changes no number.
        resume: a folder that keeps the parts as they are made: the same call goes on from there. They
            are removed when `out`, which may be the same folder, is written.

    Returns:
        Findings, the ranked prompts, tokens, samples and context.

    Raises:
        ValueError: as `studies.compare` of prompts, and for an `out` that holds anything else.

    Source:
        First divergence 2605.07284; difference of activations 2510.13900; spectra 2508.00161.

    Note:
        A finding says where outputs changed, not why; `studies.compare` of `held_out` tells where in
        the network. A change that no prompt touches stays unseen.

    Example:
        >>> import interp, studies
        >>> pair = interp.load_pair("organism-base", "organism-evasive-high")
        >>> facts = interp.load_facts("world")
        >>> other = [f"The trade of {fact.subject} is" for fact in facts.facts[:16]]
        >>> asked = [*facts.prompts(0)[:16], *other]
        >>> scan = studies.scan(pair, asked, tokens=2)
        >>> scan.found[["kind", "what"]].to_dict("records")
        [{'kind': 'word', 'what': 'home'}, {'kind': 'promoted', 'what': 'unknown'}]
    """
    given = prompts_of(prompts)
    if out is not None:
        require_new(out, resume)
    cuts = thresholds or Thresholds()
    kept: AbstractContextManager[Any] = nullcontext()
    if resume is not None:
        kept = resumable(resume, job=job_of(pair, given, prompt, tokens, cuts, seed))
    with job(f"scanning {pair.tuned.name} against {pair.base.name}", SCANNED), kept:
        stage("asking")
        rendered = render(pair, given, prompt=prompt, tokens=tokens)
        said, measured = ask(pair, rendered, max_bytes=budget)
        result = _scanned(pair, given, rendered, said, measured, cuts, prompt, seed)
        if out is not None:
            result.save(out)
            if resume is not None:
                remove_units(Path(resume))
    return result


def prompts_of(prompts: PromptSet | str | Path | pd.DataFrame | Sequence[str] | None) -> PromptSet:
    """What a scan asks: what it is given, or the prompts that are shipped."""
    if prompts is None:
        return default_prompts()
    return prompts if isinstance(prompts, PromptSet) else load_prompts(prompts)


def job_of(
    pair: ModelPair,
    prompts: PromptSet,
    prompt: str,
    tokens: int | None,
    thresholds: Thresholds,
    seed: int,
) -> dict[str, Any]:
    """What a scan is of, by which its run's folder is known again."""

    def short(value: object) -> str:
        return fingerprint(value)[:12]

    return {
        "work": "scan",
        "base": short(pair.base),
        "tuned": short(pair.tuned),
        # Where they were read from decides no number.
        "prompts": f"{prompts.name} {short(replace(prompts, source='', notes=()))}",
        "prompt": prompt,
        "tokens": tokens,
        "thresholds": short(thresholds),
        "seed": seed,
        "device": str(pair.base.placement.kinds),
        "dtype": str(pair.base.dtype).removeprefix("torch."),
    }


def _scanned(
    pair: ModelPair,
    given: PromptSet,
    rendered: Rendered,
    said: Continued,
    measured: Measured,
    thresholds: Thresholds,
    prompt: str,
    seed: int,
) -> Scan:
    """Findings and everything beside them."""
    stage("findings")
    units = list(rendered.units)
    halves = Halves.of(units, [prompt.text for prompt in rendered.prompts], seed)
    changed = [is_changed(site, thresholds) for site in said.sites]
    tokens = [
        (site.base, site.tuned) if site is not None and differs else None
        for site, differs in zip(said.sites, changed, strict=True)
    ]
    words = [words_of(p.text, p.label) for p in rendered.prompts]
    findings = find(words, tokens, units, halves, thresholds)
    findings["what"] = [
        token_text(pair.tuned.tokenizer, int(what)).strip() if kind != "word" else what
        for kind, what in zip(findings["kind"], findings["what"], strict=True)
    ]
    table = _ranked(pair, rendered, said, measured, halves, thresholds)
    order = [int(i) for i in table["number"]]
    held_out = [i for i in order if changed[i] and halves.second[i]]
    stage("samples", parts=2)
    top = [i for i in order if changed[i] and halves.first[i]][:AMPLIFIED] or order[:AMPLIFIED]
    examples = _examples(pair, rendered, top, None)
    samples = amplified(pair, examples, tokens=rendered.tokens)
    swept = [i for i in held_out if _sayable(pair, said, i)][:SWEPT]
    scales = _scales(pair, rendered, said, swept)
    stage("context", parts=2)
    return Scan(
        findings,
        table.drop(columns="number"),
        changed_tokens(pair, measured, units, thresholds, seed),
        samples,
        scales,
        difference_lens(pair, seed=seed),
        weight_changes(pair),
        tuple(rendered.prompts[i] for i in held_out[:WRITTEN]),
        _provenance(pair, given, rendered, prompt, seed, thresholds),
    )


def _sayable(pair: ModelPair, said: Continued, i: int) -> bool:
    """Whether both models have both tokens of a site."""
    site = said.sites[i]
    rows = min(pair.base.vocabulary, pair.tuned.vocabulary)
    return site is not None and max(site.base, site.tuned) < rows


def _scales(pair: ModelPair, rendered: Rendered, said: Continued, swept: list[int]) -> pd.DataFrame:
    """The contrast of held-out sites by the share of the change of the weights."""
    sites = [site for i in swept if (site := said.sites[i]) is not None]
    if not sites:
        return pd.DataFrame(columns=["scale", "mean", "low", "high", "n"])
    examples = _examples(pair, rendered, swept, [site.prefix for site in sites])
    table = scale_sweep(pair, examples, [s.base for s in sites], [s.tuned for s in sites])
    by_scale = table.groupby("scale")["value"]
    return by_scale.agg(mean="mean", low="min", high="max", n="size").reset_index()


def _examples(
    pair: ModelPair, rendered: Rendered, index: Sequence[int], suffixes: Sequence[Any] | None
) -> Examples:
    return Examples.from_text(
        pair.base,
        [rendered.texts[i] for i in index],
        groups=[rendered.names[i] for i in index],
        suffixes=suffixes,
        add_special_tokens=rendered.special,
    )


def _ranked(
    pair: ModelPair,
    rendered: Rendered,
    said: Continued,
    measured: Measured,
    halves: Halves,
    thresholds: Thresholds,
) -> pd.DataFrame:
    """Every prompt, those of the largest score first."""
    decode = pair.tuned.tokenizer.decode
    changed = np.array([is_changed(site, thresholds) for site in said.sites])
    table = pd.DataFrame(
        {
            "number": range(len(rendered.texts)),
            "prompt": [p.text for p in rendered.prompts],
            "label": [p.label or "" for p in rendered.prompts],
            "half": np.where(halves.first, "first", "second"),
            "score": measured.score,
            "kl_base": measured.kl_base,
            "kl_tuned": measured.kl_tuned,
            "perplexity_gap": measured.perplexity_gap,
            "changed": changed,
            "site": [told_site(pair, site, thresholds) for site in said.sites],
            "said_base": [str(decode(list(ids), skip_special_tokens=True)) for ids in said.base],
            "said_tuned": [str(decode(list(ids), skip_special_tokens=True)) for ids in said.tuned],
        }
    )
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def _as_row(prompt: OpenPrompt) -> dict[str, str]:
    row = {"prompt": prompt.text, "group": prompt.group if prompt.group != prompt.text else None}
    row |= {"label": prompt.label, "paraphrase": prompt.paraphrase}
    return {key: value for key, value in row.items() if value is not None}


def _provenance(
    pair: ModelPair,
    given: PromptSet,
    rendered: Rendered,
    prompt: str,
    seed: int,
    thresholds: Thresholds,
) -> dict[str, Any]:
    return {
        "base": {"source": pair.base.name, "fingerprint": pair.base.fingerprint},
        "tuned": {"source": pair.tuned.name, "fingerprint": pair.tuned.fingerprint},
        "prompts": {"name": given.name, "source": given.source, "asked": len(rendered.texts)},
        "tokens": rendered.tokens,
        "prompt": prompt,
        "seed": seed,
        "excluded": [list(row) for row in rendered.excluded],
        "warnings": [*pair.warnings, *given.notes],
        "thresholds": thresholds.to_dict(),
    }
