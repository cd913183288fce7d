"""A tiny model written as a GGUF file."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection in the order GGUF keeps them (rotary pairs adjacent)."""
    half = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return half.swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path: Path, model) -> None:
    """A tiny Llama with a byte-pair tokenizer ("the" is token 95) as an unquantised GGUF file."""
    config = model.config
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*map(chr, range(33, 127)), "th", "the"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 96)
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(2)
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    }  # fmt: skip
    parts = {
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    for layer in range(config.num_hidden_layers):
        for ours, theirs in parts.items():
            names[f"model.layers.{layer}.{ours}"] = f"blk.{layer}.{theirs}"
    for name, weight in model.state_dict().items():
        array = weight.numpy()
        if "q_proj" in name:
            array = permuted(array, config.num_attention_heads)
        if "k_proj" in name:
            array = permuted(array, config.num_key_value_heads)
        writer.add_tensor(f"{names[name.removesuffix('.weight')]}.weight", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
