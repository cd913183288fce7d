"""Merging a PEFT adapter into the model it was trained on, whole or not at all.

PEFT passes over tensors of an adapter that find no place in the model, and leaves weights that the
file does not hold at their starting values. Either way the result is another model than the one that
was tuned, so here both are refused, with their numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from interp.models.formats import Loaded, quiet, read_tokenizer
from interp.models.named import ADAPTER as CONFIG
from interp.models.proportion import refuse_outsized_adapter
from interp.untrusted.limits import SETTINGS
from interp.untrusted.patterns import check_patterns
from interp.untrusted.reading import read_json, read_text, reason
from interp.untrusted.weights import check_folder, count, tensor_shapes

WEIGHTS = "adapter_model.safetensors"

#: What PEFT writes before the base model's own names of its weights.
_PREFIX = "base_model.model."


@quiet()
def merged(folder: Path, source: str | Path, under: Loaded, base: str | Path) -> Loaded:
    """The adapter in a folder merged into a loaded base, with the adapter's tokenizer if it has one.

    Args:
        folder: holds adapter_config.json and adapter_model.safetensors.
        source: how the user named the adapter.
        under: the base, which is changed and must not be used afterwards.
        base: how the user named the base.

    Returns:
        The merged model. A base with tied embeddings gets a head of its own where the adapter
        changes one of the two; a base with another number of vocabulary rows gets the adapter's.

    Raises:
        ValueError: one line, if it has no weights to merge, if any of its tensors finds no place in
            the base or any of its weights is not given, or if merging changes the logits.
    """
    check_folder(folder)
    described = read_json(folder / CONFIG)
    check_patterns(folder / CONFIG, described)
    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{folder} has no {WEIGHTS}; pickled adapters are never loaded; "
            "save it with safe_serialization=True"
        )
    notes = list(under.warnings)
    named = described.get("base_model_name_or_path")
    if named and named != str(base):
        notes.append(f"{source} names base {named!r}; applied to {base} as asked")
    config = _config(folder, source)
    notes += _unknown_settings(described, config, source)
    held = count(tensor_shapes(folder / WEIGHTS))
    try:
        tensors = load_file(folder / WEIGHTS)
    except Exception as error:
        raise ValueError(
            f"{folder / WEIGHTS} could not be read ({reason(error)}); save the adapter again"
        ) from error
    with warnings.catch_warnings():
        # What PEFT warns of here is checked below.
        warnings.simplefilter("ignore")
        _fit_vocabulary(under.model, config, tensors, source, base)
        refuse_outsized_adapter(folder / CONFIG, under.model, config, held)
        wrapped = _wrapped(under.model, config, tensors, source, base)
        model = _merged(wrapped, source)
    tokenizer = read_tokenizer(folder) or under.tokenizer
    template = folder / "chat_template.jinja"
    if tokenizer is not None and template.is_file():
        tokenizer.chat_template = read_text(template, SETTINGS)
    return Loaded(model, tokenizer, str(source), under.stored_dtype, notes)


def probe_tokens(model: nn.Module) -> Tensor:
    """Eight fixed token ids, valid for this model, on which parity is checked after every step."""
    vocabulary = model.get_input_embeddings().weight.shape[0]  # pyright: ignore[reportCallIssue]
    return torch.arange(1, 9, device=next(model.parameters()).device)[None] * 7919 % vocabulary


def _config(folder: Path, source: str | Path) -> Any:
    """The adapter's settings, of a kind that can be merged."""
    import peft
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
        kind = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]  # pyright: ignore[reportArgumentType]
    except Exception as error:
        raise ValueError(
            f"{source}: {CONFIG} cannot be read by peft {peft.__version__} ({reason(error)}); "
            "give an adapter saved by PEFT, or install the release it was written with"
        ) from error
    if getattr(config, "megatron_config", None):
        raise ValueError(
            f"{source}: {CONFIG} asks for megatron_config, which imports a module that it names; code "
            "named by files is never run; train or save the adapter without it"
        )
    if config.is_prompt_learning or not hasattr(kind, "merge_and_unload"):
        raise ValueError(
            f"{source} is an adapter of kind {getattr(config.peft_type, 'value', config.peft_type)}, "
            "which adds inputs or modules and has no weights to merge; give one that changes weights, "
            "such as LoRA, or a full model"
        )
    return config


def _unknown_settings(described: dict[str, Any], config: Any, source: str | Path) -> list[str]:
    """A caution for settings that this release of PEFT passes over."""
    import peft

    unknown = sorted(
        key for key, value in described.items() if value and not hasattr(config, key) and key[:1] != "_"
    )
    unknown = [key for key in unknown if key != "peft_version"]
    if not unknown:
        return []
    return [f"{source}: peft {peft.__version__} does not know its settings {', '.join(unknown)}"]


def _fit_vocabulary(
    model: Any, config: Any, tensors: dict[str, Tensor], source: str | Path, base: str | Path
) -> None:
    """Give the model the adapter's number of vocabulary rows, and two matrices where it holds two.

    Raises:
        ValueError: if the adapter was trained on rows that neither it nor the base holds.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    names = [_name_of(model, end) for end in ends]
    held = [_whole(tensors, name) for name in names]
    rows = next((weight.shape[0] for weight in held if weight is not None), None)
    before = ends[0].weight.shape[0]
    tied = ends[1] is not None and ends[1].weight is ends[0].weight
    if rows is not None and rows != before:
        biased = ends[1] is not None and getattr(ends[1], "bias", None) is not None
        # A module that an adapter saves whole is a copy: the other end keeps rows of its own.
        copied = {str(name).split(".")[-1] for name in names} & set(_saved_whole(config))
        if (None in held and (not tied or copied)) or biased:
            raise ValueError(
                f"{source} was trained on {rows} vocabulary rows and {base} has {before}; it holds "
                "the rows of only one of embedding and head; save it with save_embedding_layers=True"
            )
        model.resize_token_embeddings(rows, mean_resizing=False)
    if tied and held[0] is not None and held[1] is not None and not torch.equal(held[0], held[1]):
        _untie(model, model.get_output_embeddings())


def _saved_whole(config: Any) -> Sequence[str]:
    """Modules that an adapter brings whole and that share no matrix with another."""
    tying = getattr(config, "ensure_weight_tying", False)
    return () if tying else getattr(config, "modules_to_save", None) or ()


def _whole(tensors: dict[str, Tensor], name: str | None) -> Tensor | None:
    """The whole matrix that an adapter's file holds for one of the model's modules."""
    names = (f"{_PREFIX}{name}.weight", f"{_PREFIX}{name}.base_layer.weight")
    return next((tensors[key] for key in names if key in tensors), None)


def _name_of(model: nn.Module, module: nn.Module | None) -> str | None:
    return next((name for name, other in model.named_modules() if other is module), None)


def _wrapped(
    model: nn.Module, config: Any, tensors: dict[str, Tensor], source: str | Path, base: str | Path
) -> Any:
    """The base with the adapter beside it, every tensor in its place.

    Raises:
        ValueError: if a tensor has no place, or a weight of the adapter is not given.
    """
    import peft

    config.inference_mode = True
    try:
        wrapped = peft.PeftModel(model, config)  # pyright: ignore[reportArgumentType]
    except Exception as error:
        raise _misfit(source, base, reason(error)) from error
    # Weights that the file does not give keep this mark, whatever they would have started from.
    for weight in _weights(wrapped).values():
        if weight.is_floating_point():
            weight.fill_(float("nan"))
    expected = _weights(wrapped)
    named = {key.removeprefix(_PREFIX) for key in expected}
    try:
        result = peft.set_peft_model_state_dict(wrapped, tensors)
    except KeyError as error:
        # A whole module that the adapter should bring is not in its file.
        lacking = sorted(set(expected) - set(tensors)) or [str(error)]
        raise _misfit(source, base, _counts([], lacking, len(tensors), len(expected))) from error
    except Exception as error:
        raise _misfit(source, base, reason(error)) from error
    unplaced = sorted(result.unexpected_keys)  # pyright: ignore[reportAttributeAccessIssue]
    lacking = sorted(key for key, w in _weights(wrapped).items() if bool(w.isnan().any()))
    spoilt = sorted(key for key, w in tensors.items() if not bool(w.isfinite().all()))
    if spoilt:
        raise ValueError(
            f"adapter {source}: {spoilt[0]} holds NaN or infinite values; expected finite weights; "
            "train or save it again"
        )
    if unplaced or lacking:
        raise _misfit(source, base, _counts(unplaced, lacking, len(tensors), len(named)))
    return wrapped.eval()


def _weights(wrapped: Any) -> dict[str, Tensor]:
    """The adapter's own weights in a wrapped model, under the names its file gives them."""
    import peft

    return peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)


def _counts(unplaced: list[str], lacking: list[str], held: int, expected: int) -> str:
    """How many tensors find no place, and how many are not given, with an example of each."""
    parts = []
    if unplaced:
        parts.append(f"{len(unplaced)} of its {held} tensors find no place, such as {unplaced[0]}")
    if lacking:
        parts.append(
            f"{len(lacking)} of the {expected} weights its settings ask for are not given, such as "
            f"{lacking[0]}"
        )
    return " and ".join(parts)


def _misfit(source: str | Path, base: str | Path, why: str) -> ValueError:
    return ValueError(
        f"adapter {source} does not fit {base} ({why}); give the base it was trained on, and the "
        "adapter whole"
    )


@torch.no_grad()
def _merged(wrapped: Any, source: str | Path) -> nn.Module:
    """The adapter's weights added to the base's.

    Raises:
        ValueError: if the merged model computes anything else.
    """
    bare = wrapped.get_base_model()
    probe = probe_tokens(bare)
    try:
        expected = wrapped(probe, use_cache=False).logits
        _untie_adapted(bare)
        model = wrapped.merge_and_unload()
        got = model(probe, use_cache=False).logits
    except Exception as error:
        raise ValueError(
            f"adapter {source} could not be merged ({reason(error)}); give one that changes weights, "
            "such as LoRA, or a full model"
        ) from error
    difference = (expected - got).abs().max().item()
    tolerance = (1e-3 if got.dtype in (torch.float32, torch.float64) else 0.1) * max(
        1.0, expected.abs().max().item()
    )
    if not difference <= tolerance:
        further = "; load in float32" if got.dtype not in (torch.float32, torch.float64) else ""
        raise ValueError(
            f"merging {source} changed the logits by {difference:.2g} (expected <= {tolerance:.2g})"
            f"{further or '; this kind of adapter cannot be written into the weights'}"
        )
    return model


def _untie_adapted(model: Any) -> None:
    """Give the head its own copy where it shares a matrix with an embedding and one is adapted.

    Merging writes into the base's matrix, so that a change of one would be made to the other too.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    bare = [getattr(end, "base_layer", end) for end in ends]
    if ends[1] is not None and bare[0].weight is bare[1].weight and bare != list(ends):
        _untie(model, bare[1])


def _untie(model: Any, head: Any) -> None:
    head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    for config in {id(c): c for c in (model.config, model.config.get_text_config())}.values():
        config.tie_word_embeddings = False
