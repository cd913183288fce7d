"""Places in a transformer as values: the only module that spells hook names.

A `Site` names one activation. The residual stream after the last block and before any other block
are two kinds of the same thing; `boundary` and `boundaries` count them 0..L.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of activation a site can name, in the field's usual terms."""

    EMBED = "embed"
    RESID_PRE = "resid_pre"
    RESID_POST = "resid_post"
    ATTN_OUT = "attn_out"
    MLP_OUT = "mlp_out"
    Z = "z"
    Q = "q"
    K = "k"
    V = "v"
    PATTERN = "pattern"
    MLP_POST = "mlp_post"


_HOOKS = {
    Kind.RESID_PRE: "hook_resid_pre",
    Kind.RESID_POST: "hook_resid_post",
    Kind.ATTN_OUT: "hook_attn_out",
    Kind.MLP_OUT: "hook_mlp_out",
    Kind.Z: "attn.hook_z",
    Kind.Q: "attn.hook_q",
    Kind.K: "attn.hook_k",
    Kind.V: "attn.hook_v",
    Kind.PATTERN: "attn.hook_pattern",
    Kind.MLP_POST: "mlp.hook_post",
}

#: Kinds that come head by head.
HEADED = frozenset({Kind.Z, Kind.Q, Kind.K, Kind.V, Kind.PATTERN})

#: Kinds whose activation is a vector of the residual stream's width at each position.
RESIDUAL_KINDS = frozenset({Kind.RESID_PRE, Kind.RESID_POST, Kind.ATTN_OUT, Kind.MLP_OUT})


@dataclass(frozen=True, order=True)
class Site:
    """One place in a model: a kind, a layer and, for attention heads, a head.

    Raises:
        ValueError: if the layer is negative, or a head is given for a kind that has none.
    """

    kind: Kind
    layer: int
    head: int | None = None

    def __post_init__(self) -> None:
        """Check the parts against each other."""
        object.__setattr__(self, "kind", _kind(self.kind))
        for name, number in (("layer", self.layer), ("head", self.head)):
            if isinstance(number, bool) or not (number is None and name == "head" or _whole(number)):
                raise ValueError(
                    f"{name} got {type(number).__name__} {number!r}; expected a whole number, as in "
                    f"Site({str(self.kind)!r}, 3)"
                )
        if self.layer < 0:
            raise ValueError(f"layer must be 0 or more, got {self.layer}; count blocks from 0")
        if self.head is not None and self.kind not in HEADED:
            raise ValueError(
                f"{self.kind} has no heads, got head={self.head}; leave head out or use Kind.Z"
            )

    @property
    def hook_name(self) -> str:
        """The TransformerLens name of this activation."""
        if self.kind is Kind.EMBED:
            return "hook_embed"
        return f"blocks.{self.layer}.{_HOOKS[self.kind]}"

    def __str__(self) -> str:
        """Short form such as ``resid_pre.3`` or ``z.3.h1``."""
        head = "" if self.head is None else f".h{self.head}"
        return f"{self.kind}.{self.layer}{head}"


def _kind(given: object) -> Kind:
    """The kind of this name; the name of a hook is answered with the site to write."""
    try:
        return Kind(given)
    except ValueError:
        meant = next((k for k, hook in _HOOKS.items() if str(given).endswith(f".{hook}")), None)
        layer = re.search(r"blocks\.(\d+)\.", str(given))
        if meant is not None and layer is not None:
            raise ValueError(
                f"kind got the name of a hook, {given!r}; expected Site({str(meant)!r}, {layer[1]})"
            ) from None
        raise ValueError(
            f"kind got {given!r}; expected one of {[str(kind) for kind in Kind]}, as in "
            "Site('resid_pre', 3)"
        ) from None


def _whole(number: object) -> bool:
    return hasattr(number, "__index__")


def boundary(k: int, n_layers: int) -> Site:
    """The residual stream at boundary k: before block k, or after the last block when k = L.

    Raises:
        ValueError: if k is outside 0..L.
    """
    if not 0 <= k <= n_layers:
        raise ValueError(f"boundary must be 0..{n_layers}, got {k}; boundary k is before block k")
    if k == n_layers:
        return Site(Kind.RESID_POST, n_layers - 1)
    return Site(Kind.RESID_PRE, k)


def boundaries(n_layers: int) -> list[Site]:
    """All L + 1 boundaries of the residual stream, from the embedding to the last block's output."""
    return [boundary(k, n_layers) for k in range(n_layers + 1)]


def every_layer(kind: Kind, n_layers: int) -> list[Site]:
    """One site of this kind in each layer."""
    return [Site(kind, layer) for layer in range(n_layers)]


def every_head(kind: Kind, n_layers: int, n_heads: int) -> list[Site]:
    """One site for each head of each layer; keys and values have `n_key_value_heads` of them."""
    return [Site(kind, layer, head) for layer in range(n_layers) for head in range(n_heads)]


def last_layer(sites: Iterable[Site]) -> int:
    """The highest block that must run so that every one of these sites has been computed."""
    return max(-1 if s.kind is Kind.EMBED else s.layer for s in sites)
