"""Where a patch takes its activations from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import collect
from interp.examples import Examples
from interp.models.model import Model
from interp.models.pair import compare
from interp.sites import Kind, Site

#: What may be written: another run's prompts, another model, "mean", or values given by site.
Donor = Examples | Model | str | Mapping[Site, Tensor]


def donated(
    model: Model,
    runs: Examples,
    default: Examples,
    donor: Donor,
    sites: Sequence[Site],
) -> dict[Site, Float[Tensor, "example position *d"]]:
    """The donor's activations at the sites, one row for each example of `runs`.

    Args:
        model: the model that is patched.
        runs: the prompts that are patched.
        default: the prompts the donor reads, where it is a model or "mean".
        donor: a model for its run of `default`; prompts for this model's run of those; "mean" for
            the mean over all real tokens of `default`; or a mapping with a tensor
            [example, position, *d] for each site.
        sites: where.

    Raises:
        ValueError: for a donor whose shape or architecture does not fit, or an unknown word.
    """
    if isinstance(donor, Mapping):
        missing = [str(site) for site in sites if site not in donor]
        if missing:
            raise ValueError(f"the donor must give every patched site; missing {missing[:5]}")
        for site in sites:
            if donor[site].shape[:2] != runs.tokens.shape:
                raise ValueError(
                    f"the donor at {site} must have the prompts' shape {tuple(runs.tokens.shape)} "
                    f"first; got {tuple(donor[site].shape)}; index it by example and position"
                )
        return {site: donor[site] for site in sites}
    if isinstance(donor, str) and donor != "mean":
        raise ValueError(f"donor must be prompts, a model, 'mean' or tensors by site; got {donor!r}")
    prompts = donor if isinstance(donor, Examples) else default
    source = donor if isinstance(donor, Model) else model
    clash = [str(m) for m in compare(model, source) if m.fatal] if source is not model else []
    if clash:
        raise ValueError(
            f"{source.name} cannot donate to {model.name}: {'; '.join(clash)}; "
            "give a model of the same architecture, such as a tuned version"
        )
    if prompts.tokens.shape != runs.tokens.shape or not torch.equal(prompts.mask, runs.mask):
        raise ValueError(
            f"a donor's prompts must align with those patched, shape {tuple(runs.tokens.shape)}; "
            f"got {tuple(prompts.tokens.shape)}; pair prompts of equal length"
        )
    activations = {s: a.values for s, a in collect(source, prompts, sites, positions="all").items()}
    if donor != "mean":
        return activations
    if any(site.kind is Kind.PATTERN for site in sites):
        raise ValueError("attention patterns of different queries have no mean; give another donor")
    return {s: v[prompts.mask].mean(0).expand_as(v) for s, v in activations.items()}


def donor_name(donor: Donor) -> str:
    """What the column `donor` of evidence calls it.

    Args:
        donor: as `donated` takes it.
    """
    if isinstance(donor, Model):
        return donor.role
    if isinstance(donor, str):
        return donor
    return "prompts" if isinstance(donor, Examples) else "tensors"
