"""Blocks on several devices: the rules of a GPU imitated, where mixed operations raise."""

from __future__ import annotations

from collections.abc import Iterator

import placed_work
import pytest
import tiny
import torch
from placed_work import BASE, TUNED, WORK, halves
from two_devices import CUDA, Imitated, far

import interp
from interp import ModelPair
from interp.models import loading, placement
from interp.models.identity import identity
from interp.models.placement import Placement, placed, spread

CPU = torch.device("cpu")
OTHER = torch.device("cuda", 1)
ORDERS = {"the CPU first": ("cpu", "cuda:0"), "the GPU first": ("cuda:0", "cpu")}
#: What the fast tests do of all that is done with a model: each of these moves states in its own way.
FEW = ("generation and steering", "store", "patterns", "edges")


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs on threads, which the imitation does not follow."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


@pytest.fixture(
    scope="module", params=["the CPU first", pytest.param("the GPU first", marks=pytest.mark.slow)]
)
def split(request: pytest.FixtureRequest) -> Iterator[ModelPair]:
    """A pair on both devices."""
    with Imitated():
        yield interp.load_pair(BASE, TUNED, device=halves(*ORDERS[request.param]))


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in WORK]
)
def test_two_devices_give_what_one_gives(name: str, split: ModelPair) -> None:
    with Imitated():
        found = WORK[name](split)
        devices, home = placed_work.devices_of(found), split.base.device.type
    assert placed_work.gap(found, placed_work.expected(name)) <= 1e-6
    assert devices <= ({"cpu"} if name == "store" else {home})


def test_what_a_map_is_checked_by_would_fail_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "route", Placement.of)
    with Imitated(), pytest.raises(ValueError, match="tensors on cuda:0 and on the CPU"):
        interp.load_model(BASE, device=halves("cpu", "cuda:0"))


@pytest.mark.parametrize("family", ["gpt2", "neox", "gemma3", "opt"])
def test_every_family_runs_on_two_devices(family: str, tiny_model, tokenizer) -> None:
    whole, bare = tiny_model(family), tiny.hf_model(family)
    tokens = torch.tensor(tiny.token_rows(6, 6))
    reference = loading._bare_logits(bare)
    with Imitated():
        across = Placement(CPU, (CPU, CUDA, CUDA), CUDA)
        model = loading._wrapped(placed(bare, across), tokenizer, family, "float32", (), reference)
        assert model.placement.blocks == across.blocks
        assert model.exactness is not None and model.exactness.logits <= 1e-6
        logits = model.logits(tokens)
        grid = interp.collect(model, tiny.examples(tokens.tolist()), "blocks.2.hook_resid_pre")
        assert {logits.device, *(read.values.device for read in grid.values())} == {CPU}
    assert torch.allclose(logits, whole.logits(tokens), atol=1e-5)


@pytest.mark.parametrize(
    ("free", "expected"),
    [((1, 1), (3, 3)), ((2, 1), (4, 2)), ((1, 5), (1, 5)), ((1, 1, 1), (2, 2, 2))],
)
def test_blocks_are_dealt_out_by_free_memory(free: tuple[int, ...], expected: tuple[int, ...]) -> None:
    # Six blocks of one size, and so little besides that it decides nothing.
    bare = tiny.hf_model("llama", num_hidden_layers=6, intermediate_size=4096)
    devices = [torch.device("cuda", number) for number in range(len(free))]
    share = spread(bare, {d: part * 2**30 for d, part in zip(devices, free, strict=True)})
    assert tuple(share.blocks.count(device) for device in devices) == expected
    assert list(share.blocks) == sorted(share.blocks, key=str)
    assert (share.home, share.top) == (devices[0], devices[-1])


def test_a_tied_matrix_stays_with_the_embedding() -> None:
    room = {CUDA: 2**30, OTHER: 2**30}
    tied = spread(tiny.hf_model("llama", tie_word_embeddings=True), room)
    assert tied.top == CUDA and spread(tiny.hf_model("llama"), room).top == OTHER


def test_auto_is_the_one_device_there_is_and_says_when_several_are_too_small() -> None:
    bare = tiny.hf_model("llama")
    assert spread(bare, {CUDA: 0}).devices == (CUDA,)
    with pytest.raises(ValueError, match=r"device='auto' has 0.0 GiB free on 2 devices; expected"):
        spread(bare, {CUDA: 10, OTHER: 10})
    if not torch.cuda.is_available():
        assert interp.load_model(BASE, device="auto").device.type in ("cpu", "mps")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model.layers.0": "cpu"}, "device leaves out 48 weights, such as model.embed_tokens.weight"),
        ({"": "cpu", "model.layer": "cpu"}, "device names 'model.layer', which LlamaForCausalLM"),
        ({"": "cpu", "lm_head": "tpu"}, "device must be one that torch finds here, got 'tpu'"),
    ],
)  # fmt: skip
def test_a_map_with_a_mistake_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        interp.load_model(BASE, device=given)


def test_a_block_on_two_devices_is_refused() -> None:
    with Imitated(), pytest.raises(ValueError, match="block 1 lies on cpu and cuda:0; expected every"):
        interp.load_model(BASE, device={"": "cpu", "model.layers.1.mlp": "cuda:0"})


def test_the_second_of_a_pair_lies_where_the_first_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first takes memory, so that the same rule would deal out the second otherwise.
    rooms = iter([{CUDA: 2**30, CPU: 2**30}, {CUDA: 2**20, CPU: 2**30}])
    monkeypatch.setattr(placement, "free_bytes", lambda: next(rooms))
    with Imitated():
        pair = interp.load_pair(BASE, TUNED, device="auto")
        assert pair.base.placement == pair.tuned.placement
        assert pair.base.placement.blocks == (CUDA,) * 3 + (CPU,) * 3


def test_units_are_known_by_kinds_of_devices_not_by_their_numbers() -> None:
    first, second = (Placement(a, (a, b), b) for a, b in ((CUDA, OTHER), (OTHER, CUDA)))
    assert first.kinds == second.kinds == "cuda"
    assert Placement(CPU, (CPU, CUDA), CUDA).kinds == ("cpu", "cpu", "cuda", "cuda")
    whole = identity(interp.load_model(BASE).bridge)
    with Imitated():
        parted = identity(interp.load_model(BASE, device=halves("cpu", "cuda:0")).bridge)
    assert whole[-1] == "cpu" and parted[-1] == ("cpu",) * 4 + ("cuda",) * 4
    assert whole[:-1] == parted[:-1]


def test_nothing_is_attached_to_a_model_on_one_device() -> None:
    def attached(model: interp.Model) -> int:
        hooks = (h for module in model.bridge.modules() for h in module._forward_pre_hooks.values())
        return sum(hook.__module__ == placement.__name__ for hook in hooks)

    assert attached(interp.load_model(BASE)) == 0
    with Imitated():
        # The embedding, the table of rotary positions, six blocks, the last norm and the unembedding.
        assert attached(interp.load_model(BASE, device=halves("cpu", "cuda:0"))) == 10


def test_where_parts_lie_is_said_in_words() -> None:
    across = Placement(CPU, (CPU, CUDA, CUDA, OTHER), OTHER)
    assert str(across) == (
        "block 0 on cpu, blocks 1-2 on cuda:0, block 3 on cuda:1; tokens on cpu, unembedding on cuda:1"
    )
    assert str(Placement(CPU, (CPU,), CPU)) == "cpu"


def test_the_imitation_marks_memory() -> None:
    with Imitated():
        there = far(torch.ones(3, 3))
        kept = torch.nn.Parameter(there)
    assert far(there) is there
    with Imitated():
        assert kept.device == there.T.device == CUDA and torch.ones(2).device == CPU
