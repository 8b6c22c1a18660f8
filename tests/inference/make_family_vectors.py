#!/usr/bin/env python3
"""Tiny seeded models of every family and option without a trained model here, and the logits that
transformers computes for them in float32. usage: make_family_vectors.py OUT_DIR

Writes OUT_DIR/<case>/{config.json, model.safetensors, reference.safetensors}; reference holds
input_ids [n] (int32) and logits [n, vocabulary] (float32). Made with torch 2.11.0, transformers
5.17.0, CPU, attn_implementation=eager.
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import (GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig,
                          MistralForCausalLM, OPTConfig, OPTForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM)

VOCABULARY = 96


def llama_like(**changes):
    sizes = dict(vocab_size=VOCABULARY, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, intermediate_size=80, max_position_embeddings=128,
                 tie_word_embeddings=True, rms_norm_eps=1e-6)
    return {**sizes, **changes}


CASES = {
    # Biases on q, k and v; head_dim 12: shorter than a vector register.
    "qwen2-biases": lambda: Qwen2ForCausalLM(Qwen2Config(**llama_like(
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}))),
    # The upper layer attends to a window, the lower one to everything.
    "qwen2-window": lambda: Qwen2ForCausalLM(Qwen2Config(**llama_like(
        use_sliding_window=True, sliding_window=11, max_window_layers=1))),
    # Scaled rotary frequencies of all three kinds (kept, blended, stretched), head_dim 20 although
    # 48 / 4 = 12, and a head of its own.
    "llama3-rope": lambda: LlamaForCausalLM(LlamaConfig(**llama_like(
        head_dim=20, tie_word_embeddings=False,
        rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0,
                         "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 64}))),
    "llama-linear-rope-biases": lambda: LlamaForCausalLM(LlamaConfig(**llama_like(
        num_key_value_heads=1, attention_bias=True, mlp_bias=True,
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}))),
    # 80 tokens, far past a window of 16.
    "mistral-window": lambda: MistralForCausalLM(MistralConfig(**llama_like(
        sliding_window=16, tie_word_embeddings=False, head_dim=16))),
    # Like opt-350m: norms after the blocks, no final norm, embeddings narrower than the model.
    "opt-post-norm": lambda: OPTForCausalLM(OPTConfig(
        vocab_size=VOCABULARY, hidden_size=40, word_embed_proj_dim=24, num_hidden_layers=2,
        num_attention_heads=5, ffn_dim=72, max_position_embeddings=90, do_layer_norm_before=False)),
    "opt-no-biases": lambda: OPTForCausalLM(OPTConfig(
        vocab_size=VOCABULARY, hidden_size=40, word_embed_proj_dim=40, num_hidden_layers=2,
        num_attention_heads=2, ffn_dim=72, max_position_embeddings=90, enable_bias=False,
        layer_norm_elementwise_affine=False)),
    # Nothing divides anything: width 39, heads of 13, an MLP of 50, 61 words.
    "gpt2-odd-sizes": lambda: GPT2LMHeadModel(GPT2Config(
        vocab_size=61, n_embd=39, n_head=3, n_inner=50, n_layer=2, n_positions=85, bos_token_id=0,
        eos_token_id=0, scale_attn_by_inverse_layer_idx=True)),
    "gpt2-erf-unscaled": lambda: GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_head=2, n_layer=2, n_positions=128, bos_token_id=0,
        eos_token_id=0, activation_function="gelu", scale_attn_weights=False)),
}


def randomise(model, generator):
    """All parameters random, norms around 1, rounded to half precision as the file keeps them."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            centre = 1.0 if "norm" in name or ".ln_" in name else 0.0
            value = (1.0 if name.endswith("weight") else 0.0) * centre + 0.2 * noise
        else:
            value = noise * (1.5 / parameter.shape[-1] ** 0.5)
        parameter.data = value.half().float()


def main():
    out = pathlib.Path(sys.argv[1])
    for number, (case, build) in enumerate(CASES.items()):
        generator = torch.Generator().manual_seed(1000 + number)
        model = build().eval()
        model.set_attn_implementation("eager")
        randomise(model, generator)
        model.tie_weights()
        ids = torch.randint(0, model.config.vocab_size, (1, 80), generator=generator)
        with torch.no_grad():
            logits = model(ids).logits[0].float()
        folder = out / case
        folder.mkdir(parents=True, exist_ok=True)
        model.half().save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        save_file({"input_ids": ids[0].int(), "logits": logits.contiguous()},
                  folder / "reference.safetensors")
        size = sum(p.stat().st_size for p in folder.iterdir())
        print(f"{case}: {size} bytes, logits {logits.std():.2f} std, {logits.abs().max():.2f} max")


if __name__ == "__main__":
    main()
