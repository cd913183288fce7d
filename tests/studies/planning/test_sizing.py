"""Models of a size: their shapes are the real ones, and more of anything costs more."""

import json
from dataclasses import replace

import pytest
import torch

import studies
from patching.engine.block_cost import BlockCost
from studies.planning.hardware import CARDS, SHAPES, nearest, parameters_of
from studies.planning.sizing import plan_size

#: Parameters as the models' cards tell them.
KNOWN = {
    "SmolLM2 135M": 134_515_008,
    "SmolLM2 1.7B": 1_711_376_384,
    "Llama 2 7B": 6_738_415_616,
    "Llama 3.1 8B": 8_030_261_248,
    "Llama 2 13B": 13_015_864_320,
    "Llama 2 70B": 68_976_648_192,
    "Llama 3.1 405B": 405_853_388_800,
}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_declared_shape_has_the_parameters_of_the_real_model(shape):
    assert shape.parameters == KNOWN.get(shape.name, shape.parameters)
    named = parameters_of(shape.name.split()[-1])
    assert shape.parameters == pytest.approx(named, rel=0.25) and nearest(named) is shape
    assert replace(shape, hidden=2 * shape.hidden).parameters > 1.2 * shape.parameters, "the control"


def test_the_cost_of_a_shape_is_that_of_a_model_of_that_shape(tiny_model):
    model = tiny_model("llama")
    config, size = model.config, torch.empty(0, dtype=model.dtype).element_size()
    shape = replace(
        SHAPES[0],
        layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        head_width=config.hidden_size // config.num_attention_heads,
        hidden=config.intermediate_size,
        vocabulary=config.vocab_size,
        tied=False,
    )
    assert replace(shape.cost(1.0, size), cpu=True) == BlockCost.of(model)
    parameters = model.bridge.original_model.parameters()
    assert shape.parameters == sum(p.numel() for p in parameters)


def test_weights_hours_and_cards_grow_with_the_size():
    plans = [plan_size(size, "h100", 40) for size in ("1.7b", "7b", "13b", "70b")]
    for small, large in zip(plans, plans[1:], strict=False):
        assert small.weights_bytes < large.weights_bytes and small.gpu_hours < large.gpu_hours
        assert small.gpus <= large.gpus
    seven, seventy = plans[1], plans[3]
    assert (seven.layers, seven.d_model, seven.gpus) == (32, 4096, 1)
    assert (seventy.layers, seventy.d_model) == (80, 8192)
    assert seventy.gpus * CARDS["h100"].memory * 0.9 >= seventy.weights_bytes > 2 * CARDS["h100"].memory
    assert seven.weights_bytes == 2 * 2 * 7e9
    assert plan_size("7b", "h100", 40, dtype="float32").weights_bytes == 2 * seven.weights_bytes
    assert plan_size("7b", "a100", 40).gpu_hours > seven.gpu_hours
    assert plan_size("7b", "h100", 80).layer_tokens > seven.layer_tokens


def test_what_is_assumed_stands_beside_the_numbers():
    planned = studies.plan_size("20b", "a100", 10)
    text, data = str(planned), json.loads(json.dumps(planned.to_dict()))
    assert "30% of its 312 TFLOP/s" in text and "NVIDIA A100 data sheet" in text
    assert "Llama 2 13B, meta-llama/Llama-2-13b-hf" in text and "20B parameters" in text
    assert data["stages"].keys() == {"asking", "stitching", "patching", "shared shift", "probing"}
    assert sum(data["stages"].values()) == data["layer_tokens"]
    assert len(repr(planned)) < 200 and "<table>" in planned._repr_html_()


@pytest.mark.parametrize("size", ["", "7", "b", "7bb", "1e3b", "-7b", "nan", "0b", "9" * 400 + "b"])
def test_a_size_that_is_none_is_one_line(size):
    with pytest.raises(ValueError, match="--model-size must be a number of parameters"):
        plan_size(size, "h100", 10)
