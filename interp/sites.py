"""Places in a transformer as values: the only module that spells hook names.

A `Site` names one activation. The residual stream after the last block and before any other block
are two kinds of the same thing; `boundary` and `boundaries` count them 0..L.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from interp._doors import checked, read_as


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

_KINDS = {hook: kind for kind, hook in _HOOKS.items()}

#: Hooks without a site -> what to write instead, by layer.
_ELSEWHERE = {
    "hook_resid_mid": "Site('attn_out', {0}), since what is written between attention and MLP changes "
    "the MLP's branch only",
    "hook_in": "Site('resid_pre', {0})",
    "hook_out": "Site('resid_post', {0})",
    "attn.hook_result": "Site('z', {0}, head=…), a head's output before it is projected",
    "attn.hook_attn_scores": "Site('pattern', {0}), the attention after the softmax",
    "mlp.hook_pre": "Site('mlp_post', {0}), the neurons after their non-linearity",
}

#: Kinds that come head by head.
HEADED = frozenset({Kind.Z, Kind.Q, Kind.K, Kind.V, Kind.PATTERN})

#: Kinds whose activation is a vector of the residual stream's width at each position.
RESIDUAL_KINDS = frozenset({Kind.RESID_PRE, Kind.RESID_POST, Kind.ATTN_OUT, Kind.MLP_OUT})


@dataclass(frozen=True, order=True)
class Site:
    """One place in a model: a kind, a layer and, for attention heads, a head.

    Attributes:
        kind: what is read there; a name such as "resid_pre" stands for `Kind.RESID_PRE`.
        layer: the block, counted from 0; 0 for the embedding.
        head: the attention head, counted from 0; None for all heads, or for kinds that have none.

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

    @classmethod
    @checked
    def from_hook_name(cls, name: str) -> Site:
        """The site of a TransformerLens hook, such as "blocks.5.hook_resid_pre".

        Args:
            name: as in TransformerLens's cache; of attention it names all heads.

        Returns:
            The site whose `hook_name` it is.

        Raises:
            ValueError: if no site stands for it, with the hooks that have one.
        """
        if name == "hook_embed":
            return cls(Kind.EMBED, 0)
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if block is not None and block[2] in _ELSEWHERE:
            instead = _ELSEWHERE[block[2]].format(block[1])
            raise ValueError(f"no site stands for the hook {name!r}; expected {instead}")
        kind = None if block is None else _KINDS.get(block[2])
        if block is None or kind is None:
            raise ValueError(
                f"no site stands for the hook {name!r}; expected 'hook_embed', or 'blocks.N.' before "
                f"one of {list(_KINDS)}, as 'blocks.3.hook_resid_pre' for Site('resid_pre', 3)"
            )
        return cls(kind, int(block[1]))

    @property
    def hook_name(self) -> str:
        """The TransformerLens name of this activation."""
        if self.kind is Kind.EMBED:
            return "hook_embed"
        return f"blocks.{self.layer}.{_HOOKS[self.kind]}"

    def __repr__(self) -> str:
        """As it is written in code, its kind by name."""
        head = "" if self.head is None else f", head={self.head}"
        return f"Site({str(self.kind)!r}, {self.layer}{head})"

    def __str__(self) -> str:
        """Short form such as ``resid_pre.3`` or ``z.3.h1``."""
        head = "" if self.head is None else f".h{self.head}"
        return f"{self.kind}.{self.layer}{head}"


def _kind(value: object) -> Kind:
    """The kind of this name; the name of a hook is answered with the site to write."""
    try:
        return Kind(value)
    except ValueError:
        site = site_of_text(str(value))
        if site is not None:
            site_read = f", or Site.from_hook_name({value!r})" if "hook_" in str(value) else ""
            raise ValueError(
                f"kind got the name of a whole site, {value!r}; expected "
                f"Site({str(site.kind)!r}, {site.layer}){site_read}"
            ) from None
        raise ValueError(
            f"kind got {value!r}; expected one of {[str(kind) for kind in Kind]}, as in "
            "Site('resid_pre', 3)"
        ) from None


def _whole(number: object) -> bool:
    return hasattr(number, "__index__")


def site_of_text(text: str) -> Site | None:
    """The site of a hook's name or of a site's short form; None for any other text."""
    short = re.fullmatch(r"([a-z_]+)\.(\d+)(?:\.h(\d+))?", text)
    if short is not None and short[1] in set(Kind):
        return Site(Kind(short[1]), int(short[2]), None if short[3] is None else int(short[3]))
    return Site.from_hook_name(text) if "hook_" in text else None


read_as(Kind, _kind)
read_as(Site, site_of_text)


def boundary(k: int, n_layers: int) -> Site:
    """The residual stream at boundary k: before block k, or after the last block when k = L.

    Args:
        k: the boundary, 0..L.
        n_layers: the number of blocks L.

    Returns:
        `Site(Kind.RESID_PRE, k)`, and for k = L `Site(Kind.RESID_POST, L - 1)`.

    Raises:
        ValueError: if k is outside 0..L.

    Example:
        >>> import interp
        >>> [str(interp.boundary(k, 4)) for k in (0, 3, 4)]
        ['resid_pre.0', 'resid_pre.3', 'resid_post.3']
    """
    if not 0 <= k <= n_layers:
        raise ValueError(f"boundary must be 0..{n_layers}, got {k}; boundary k is before block k")
    if k == n_layers:
        return Site(Kind.RESID_POST, n_layers - 1)
    return Site(Kind.RESID_PRE, k)


def boundaries(n_layers: int) -> list[Site]:
    """All L + 1 boundaries of the residual stream, from the embedding to the last block's output.

    Args:
        n_layers: the number of blocks L.

    Returns:
        The sites of `boundary` for k = 0..L, in this order.

    Example:
        >>> import interp
        >>> model = interp.load_model("organism-base")
        >>> sites = interp.boundaries(model.n_layers)
        >>> len(sites) == model.n_layers + 1
        True
        >>> str(sites[0])
        'resid_pre.0'
    """
    return [boundary(k, n_layers) for k in range(n_layers + 1)]


def block_of_hook(name: str) -> int | None:
    """Number of the block in which a bridge's hook or module of this name stands; None outside of them.

    Args:
        name: dotted, as TransformerLens has it, of a site or of anything else.
    """
    block = re.match(r"blocks\.(\d+)(?:\.|$)", name)
    return None if block is None else int(block[1])


def every_layer(kind: Kind, n_layers: int) -> list[Site]:
    """One site of a kind in each layer.

    Args:
        kind: what is read; of attention all heads together.
        n_layers: the number of blocks L.

    Returns:
        L sites, from block 0 upwards.

    Example:
        >>> import interp
        >>> [str(site) for site in interp.every_layer(interp.Kind.MLP_OUT, 3)]
        ['mlp_out.0', 'mlp_out.1', 'mlp_out.2']
    """
    return [Site(kind, layer) for layer in range(n_layers)]


def every_head(kind: Kind, n_layers: int, n_heads: int) -> list[Site]:
    """One site for each attention head of each layer.

    Args:
        kind: one of those that come head by head: z, q, k, v or pattern.
        n_layers: the number of blocks L.
        n_heads: heads of a layer; of keys and values `model.heads_of(kind)`, where queries share them.

    Returns:
        L × n_heads sites, layer by layer.

    Raises:
        ValueError: for a kind without heads.

    Example:
        >>> import interp
        >>> [str(site) for site in interp.every_head(interp.Kind.Z, 2, 2)]
        ['z.0.h0', 'z.0.h1', 'z.1.h0', 'z.1.h1']
    """
    return [Site(kind, layer, head) for layer in range(n_layers) for head in range(n_heads)]


def last_layer(sites: Iterable[Site]) -> int:
    """The highest block that must run so that every one of these sites has been computed."""
    return max(-1 if s.kind is Kind.EMBED else s.layer for s in sites)
