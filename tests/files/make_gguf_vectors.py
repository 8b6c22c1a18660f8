#!/usr/bin/env python3
"""Makes vectors/: what the `gguf` Python package says about each tensor type, and tiny models in both forms.

usage: tests/files/make_gguf_vectors.py      (needs gguf 0.19, numpy, safetensors; writes beside this script)

  types.gguf, types.safetensors   a tensor of each type with seeded random blocks, and its values by gguf.quants.dequantize
  {llama,qwen2,gpt2}-tiny/        config.json and model.safetensors as transformers would have them
  {llama,qwen2,gpt2}-tiny.gguf    the same model, converted as llama.cpp's convert_hf_to_gguf.py does (q and k rows of
                                  llama interleaved, Conv1D transposed, llama3 scaling as rope_freqs)
  tokenizer.json                  bytes, a few merges and one special token; the tiny models share it
"""
import json
import math
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent / "vectors"
BLOCK_TYPES = [Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q4_K, Type.Q6_K]
HALF_OFFSETS = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q4_K: [0, 2], Type.Q6_K: [208]}


def finite_halves(rng, count):
    bits = rng.integers(0, 1 << 16, count, dtype=np.uint16)
    return np.where((bits & 0x7C00) == 0x7C00, bits & 0x83FF, bits).astype(np.uint16)  # infinities and NaN become subnormal


def random_blocks(rng, kind, rows, columns):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (rows * columns // block, size), dtype=np.uint8)
    for offset in HALF_OFFSETS[kind]:
        blocks[:, offset : offset + 2] = finite_halves(rng, len(blocks)).view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


def make_types():
    rng = np.random.default_rng(20250101)
    writer = gguf.GGUFWriter(HERE / "types.gguf", "none")
    expected = {}
    for kind in BLOCK_TYPES:
        data = random_blocks(rng, kind, 3, 512)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        expected[kind.name] = gguf.quants.dequantize(data, kind)
    halves = finite_halves(rng, 3 * 40).reshape(3, 40).view(np.float16)
    writer.add_tensor("F16", halves)
    expected["F16"] = halves.astype(np.float32)
    floats = rng.standard_normal((3, 40), dtype=np.float32)
    writer.add_tensor("F32", floats)
    expected["F32"] = floats
    brains = gguf.quants.quantize(floats, Type.BF16)
    writer.add_tensor("BF16", brains, raw_dtype=Type.BF16)
    expected["BF16"] = gguf.quants.dequantize(brains, Type.BF16)
    for name, values in expected.items():
        assert np.isfinite(values).all(), name
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file({name: np.ascontiguousarray(values) for name, values in expected.items()}, HERE / "types.safetensors")


def byte_characters():
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in own]
    table = {byte: chr(byte) for byte in own} | {byte: chr(256 + i) for i, byte in enumerate(rest)}
    return [table[byte] for byte in range(256)]


MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "a"), ("1", "2"), ("12", "3"), ("!", "!")]
TOKENS = ["<|endoftext|>", *byte_characters(), *("".join(pair) for pair in MERGES)]


def make_tokenizer():
    special = {"id": 0, "content": TOKENS[0], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": {token: i for i, token in enumerate(TOKENS)}, "merges": [" ".join(pair) for pair in MERGES]}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    document = {"version": "1.0", "added_tokens": [special], "normalizer": None, "pre_tokenizer": level, "decoder": level, "model": model}
    (HERE / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False) + "\n")


class Pair:
    """One model written twice."""

    def __init__(self, name, arch, pre, config):
        self.name = name
        self.config = config
        self.rng = np.random.default_rng(len(name))
        self.tensors = {}
        self.writer = gguf.GGUFWriter(HERE / f"{name}.gguf", arch)
        self.writer.add_tokenizer_model("gpt2")
        self.writer.add_tokenizer_pre(pre)
        self.writer.add_token_list(TOKENS)
        self.writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(TOKENS) - 1))
        self.writer.add_token_merges([" ".join(pair) for pair in MERGES])
        self.writer.add_eos_token_id(0)

    def add(self, hf_name, gguf_name, shape, kind=Type.F32, stored=lambda values: values, conv1d=False):
        """Random values, rounded to `kind`: the Hugging Face tensor is what the GGUF one dequantises to."""
        values = self.rng.standard_normal(shape, dtype=np.float32)
        data = gguf.quants.quantize(values, kind)
        values = gguf.quants.dequantize(data, kind).reshape(shape)
        data = gguf.quants.quantize(np.ascontiguousarray(stored(values)), kind)
        self.writer.add_tensor(gguf_name, data, raw_dtype=kind)
        self.tensors[hf_name] = np.ascontiguousarray(values.T if conv1d else values)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        folder = HERE / self.name
        folder.mkdir(exist_ok=True)
        save_file(self.tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(self.config, indent=2) + "\n")


def permute(values, heads):
    """convert_hf_to_gguf.py, LlamaModel.permute."""
    return values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def llama3_divisors(theta, head_dim, factor, low=1.0, high=4.0, positions=8192):
    """convert_hf_to_gguf.py, LlamaModel.generate_extra_tensors."""
    out = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * theta ** (i / head_dim)
        if wavelength < positions / high:
            out.append(1.0)
        elif wavelength > positions / low:
            out.append(factor)
        else:
            smooth = (positions / wavelength - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(out, dtype=np.float32)


def make_llama_like(name, arch, pre, extra, tied, head_dim, qkv_bias):
    width, heads, kv_heads, ffn, layers = 32, 4, 2, 64, 2
    config = {"architectures": [arch.capitalize() + "ForCausalLM"], "model_type": arch, "hidden_size": width, "intermediate_size": ffn,
              "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head_dim,
              "max_position_embeddings": 8192, "rms_norm_eps": 9.999999747378752e-06, "vocab_size": len(TOKENS), "hidden_act": "silu",
              "tie_word_embeddings": tied, "eos_token_id": 0, **extra}
    pair = Pair(name, arch, pre, config)
    writer = pair.writer
    writer.add_block_count(layers)
    writer.add_context_length(8192)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(head_dim)
    theta = extra["rope_theta"]
    writer.add_rope_freq_base(theta)
    if "rope_scaling" in extra:
        writer.add_tensor("rope_freqs.weight", llama3_divisors(theta, head_dim, extra["rope_scaling"]["factor"]))
    rows = {"q": (heads, heads * head_dim), "k": (kv_heads, kv_heads * head_dim), "v": (None, kv_heads * head_dim)}
    pair.add("model.embed_tokens.weight", "token_embd.weight", (len(TOKENS), width), Type.Q8_0)
    for i in range(layers):
        hf, gg = f"model.layers.{i}.", f"blk.{i}."
        for letter, (group, out) in rows.items():
            is_permuted = arch == "llama" and group is not None
            stored = (lambda values, group=group: permute(values, group)) if is_permuted else (lambda values: values)
            kind = Type.Q8_0 if letter == "q" else Type.F16
            pair.add(f"{hf}self_attn.{letter}_proj.weight", f"{gg}attn_{letter}.weight", (out, width), kind, stored)
            if qkv_bias:
                pair.add(f"{hf}self_attn.{letter}_proj.bias", f"{gg}attn_{letter}.bias", (out,), Type.F32, stored)
        pair.add(f"{hf}self_attn.o_proj.weight", f"{gg}attn_output.weight", (width, heads * head_dim), Type.F16)
        pair.add(f"{hf}mlp.gate_proj.weight", f"{gg}ffn_gate.weight", (ffn, width), Type.Q4_1)
        pair.add(f"{hf}mlp.up_proj.weight", f"{gg}ffn_up.weight", (ffn, width), Type.Q5_0)
        pair.add(f"{hf}mlp.down_proj.weight", f"{gg}ffn_down.weight", (width, ffn), Type.BF16)
        pair.add(f"{hf}input_layernorm.weight", f"{gg}attn_norm.weight", (width,))
        pair.add(f"{hf}post_attention_layernorm.weight", f"{gg}ffn_norm.weight", (width,))
    pair.add("model.norm.weight", "output_norm.weight", (width,))
    if not tied:
        pair.add("lm_head.weight", "output.weight", (len(TOKENS), width), Type.F16)
    pair.close()


def make_gpt2():
    width, heads, ffn, layers, positions = 24, 3, 40, 2, 16
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": width, "n_head": heads, "n_inner": ffn, "n_layer": layers,
              "n_positions": positions, "layer_norm_epsilon": 9.999999747378752e-06, "activation_function": "gelu_new",
              "vocab_size": len(TOKENS), "eos_token_id": 0}
    pair = Pair("gpt2-tiny", "gpt2", "gpt-2", config)
    writer = pair.writer
    writer.add_block_count(layers)
    writer.add_context_length(positions)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_layer_norm_eps(1e-5)
    pair.add("transformer.wte.weight", "token_embd.weight", (len(TOKENS), width), Type.F16)
    pair.add("transformer.wpe.weight", "position_embd.weight", (positions, width))
    linears = [("attn.c_attn", "attn_qkv", 3 * width, width), ("attn.c_proj", "attn_output", width, width),
               ("mlp.c_fc", "ffn_up", ffn, width), ("mlp.c_proj", "ffn_down", width, ffn)]
    for i in range(layers):
        hf, gg = f"transformer.h.{i}.", f"blk.{i}."
        for hf_part, gguf_part, out, inputs in linears:
            pair.add(f"{hf}{hf_part}.weight", f"{gg}{gguf_part}.weight", (out, inputs), Type.F16, conv1d=True)
            pair.add(f"{hf}{hf_part}.bias", f"{gg}{gguf_part}.bias", (out,))
        for hf_part, gguf_part in (("ln_1", "attn_norm"), ("ln_2", "ffn_norm")):
            pair.add(f"{hf}{hf_part}.weight", f"{gg}{gguf_part}.weight", (width,))
            pair.add(f"{hf}{hf_part}.bias", f"{gg}{gguf_part}.bias", (width,))
        pair.tensors[f"{hf}attn.bias"] = np.tril(np.ones((1, 1, positions, positions), dtype=np.uint8))  # old files carry the mask
    pair.add("transformer.ln_f.weight", "output_norm.weight", (width,))
    pair.add("transformer.ln_f.bias", "output_norm.bias", (width,))
    pair.close()


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    make_types()
    make_tokenizer()
    scaling = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    make_llama_like("llama-tiny", "llama", "llama-bpe", {"rope_theta": 500000.0, "rope_scaling": scaling}, False, 16, False)
    make_llama_like("qwen2-tiny", "qwen2", "qwen2", {"rope_theta": 1000000.0, "use_sliding_window": False, "sliding_window": 4096}, True, 8, True)
    make_gpt2()
