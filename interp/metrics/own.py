"""Metrics of one's own: functions from logits to a number, and several metrics by their names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.arguments import said
from interp.examples import Examples
from interp.metrics.base import UNNAMED, Metric


def metric(
    function: Callable[..., Any],
    examples: Examples,
    *,
    unit: str = "value",
    name: str | None = None,
    positions: str | int | Sequence[int] | Int[Tensor, " example"] = "last",
) -> Metric:
    """Make a metric of a function of one's own.

    The function is given the logits of one token of each prompt, all others are never computed:

    - `function(logits)` of one prompt's logits, as [1, vocabulary], [vocabulary] or
      [1, 1, vocabulary], whichever it takes, gives one number. Prompts are read one by one, so that
      nothing is averaged over them.
    - `function(logits, example)` of logits [row, vocabulary] and the example that each row belongs
      to, [row], gives one number per row, shape [row]. Rows are not examples: a sweep asks many edits
      of one example in one call, so answers are looked up as `answers[example]`.

    Args:
        function: from logits to a number.
        examples: the prompts it will be read on.
        unit: of its values, such as "logits", "nats" or "share".
        name: what its values are called in evidence; by default "metric" where it stands alone, and
            beside others the function's own name.
        positions: the token that is read, as `interp.collect` takes it: "last", "subject_last", one
            number for all, or one column per example.

    Returns:
        A metric that every method of `patching` takes.

    Raises:
        ValueError: for unknown positions; when it is read, if the function gives another shape.

    Example:
        >>> import interp
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts).subset([0, 1, 2])
        >>> largest = interp.metric(lambda logits: logits.max(), examples, unit="logits", name="top")
        >>> logits = model.logits(examples.tokens[:1])[:, -1]
        >>> bool((largest(logits, examples.tokens.new_zeros(1)) == logits.max()).all())
        True
        >>> largest.name, largest.unit
        ('top', 'logits')
    """
    own_name = getattr(function, "__name__", "").strip("<>")
    needed = _needed(function)
    if needed > 2:
        raise ValueError(
            f"a metric function got {needed} arguments to fill; expected one, the logits of a prompt, "
            "or two, the logits and the number of each row's prompt; give the others defaults"
        )

    def one_by_one(logits: Tensor, example: Tensor) -> Tensor:
        if not len(logits):
            return logits[:, 0]
        return torch.stack([_one_number(function, row) for row in logits])

    def all_rows(logits: Tensor, example: Tensor) -> Tensor:
        return torch.as_tensor(_no_none(function(logits, example)), device=logits.device)

    read = all_rows if needed == 2 else one_by_one
    return Metric(read, unit, examples.columns_at(positions), name=name or UNNAMED, measure=own_name)


def as_metric(given: object, examples: Examples) -> Metric:
    """A metric as it is, or a function of one's own as one, read at the last position.

    Args:
        given: a metric, or a function as `metric` takes it.
        examples: the prompts it will be read on.

    Raises:
        ValueError: for anything else, a metric of another number of prompts, and when read, if the
            function gives another shape.
    """
    if isinstance(given, Metric):
        if len(given.positions) != len(examples):
            raise ValueError(
                f"{given.name} was made for {len(given.positions)} prompts, got {len(examples)}; "
                "expected a metric of the same prompts: make it of these, or take metric.subset(rows) "
                "as the prompts were"
            )
        return given
    if not callable(given):
        raise ValueError(
            f"a metric got {said(given)}; expected a Metric such as "
            "interp.logit_difference(contrast), or a function from logits to one number"
        )
    return metric(given, examples)


def named_metrics(
    given: Metric | Callable[..., Any] | Sequence[Any] | Mapping[str, Any], examples: Examples
) -> dict[str, Metric]:
    """One metric or several, by their names.

    Args:
        given: a metric or a function of one's own, a sequence of these, or a mapping from names.
        examples: the prompts they will be read on.

    Returns:
        One metric under its name, which is "metric" if it was given none; several by their names, or
        by what they measure; those of a mapping by the mapping's names.

    Raises:
        ValueError: as `metric`; for none at all, two of one name, or one of other prompts.
    """
    if isinstance(given, Mapping):
        named = {str(name): as_metric(value, examples) for name, value in given.items()}
    elif isinstance(given, Sequence) and not isinstance(given, str):
        metrics = [as_metric(value, examples) for value in given]
        names = [m.measure if m.name == UNNAMED and m.measure else m.name for m in metrics]
        named = dict(zip(names, metrics, strict=True))
        if len(named) < len(metrics):
            raise ValueError(
                f"metrics must differ in name, got {names}; expected a mapping {{name: metric}}, or "
                "names given by interp.metric(…, name=…)"
            )
    else:
        alone = as_metric(given, examples)
        named = {alone.name: alone}
    if not named:
        raise ValueError("metrics got none; expected at least one, such as logit_difference(contrast)")
    return named


def _needed(function: Callable[..., Any]) -> int:
    """How many arguments a function needs: the logits, and which example each row belongs to."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C do not tell
        return 1
    needed = [
        p for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip
    return len(needed)


def _no_none(value: Any) -> Any:
    """The value, refused where a function forgot to return one."""
    if value is None:
        raise ValueError(
            "a metric function gave None; expected a number; end it with return, as in "
            "lambda logits: logits[..., a] - logits[..., b]"
        )
    return value


def _one_number(function: Callable[..., Any], logits: Float[Tensor, " token"]) -> Float[Tensor, ""]:
    """What a function makes of one prompt's logits."""
    shape, raised = None, []
    for shaped in (logits[None], logits, logits[None, None]):
        try:
            given = function(shaped)
            value = None if given is None else torch.as_tensor(given, device=logits.device)
        except Exception as error:  # the function is the user's: whatever it raises is the reason
            raised.append(error)
            continue
        value = _no_none(value)
        if value.numel() == 1:
            return value.reshape(()).to(logits.dtype)
        shape = list(value.shape)
    if shape is None:
        raise _raised(raised, len(logits)) from raised[0]
    raise ValueError(
        f"a metric function got logits [{len(logits)}] of one prompt; expected one number (it gave "
        f"shape {shape}); write it as lambda logits: logits[..., a] - logits[..., b]"
    )


def _raised(errors: Sequence[Exception], vocabulary: int) -> ValueError:
    """What a function raised, which refused every shape of the logits.

    The error that names the size of the vocabulary says most: it is about a wrong token id, and not
    about a shape that the function was not written for.
    """
    error = next((e for e in errors if re.search(rf"\b{vocabulary}\b", str(e))), errors[0])
    told = str(error).splitlines()[0][:120] if str(error) else "no message"
    return ValueError(
        f"a metric function raised {type(error).__name__} on the logits of one prompt, which have "
        f"{vocabulary} tokens: {told}; mend the function, or the token ids that it reads"
    )
