"""The shapes that both sides run, as transformers configurations: schemas/catalog/shapes.cpp, random weights."""
import transformers

LLAMA_3 = dict(vocab_size=128256, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
               max_position_embeddings=8192, bos_token_id=1, eos_token_id=2)


def gpt2(layers, width, heads):
    return transformers.GPT2Config(vocab_size=50257, n_positions=1024, n_embd=width, n_layer=layers, n_head=heads,
                                   bos_token_id=50256, eos_token_id=50256)


def llama(layers, width, heads, kv_heads, head_dim, ffn, tied, **rest):
    return transformers.LlamaConfig(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads,
                                    num_key_value_heads=kv_heads, head_dim=head_dim, intermediate_size=ffn,
                                    tie_word_embeddings=tied, **rest)


SHAPES = {
    "gpt2": lambda: gpt2(12, 768, 12),
    "gpt2-medium": lambda: gpt2(24, 1024, 16),
    "gpt2-xl": lambda: gpt2(48, 1600, 25),
    "llama-3.2-1b": lambda: llama(16, 2048, 32, 8, 64, 8192, True, **LLAMA_3),
    "llama-3.2-3b": lambda: llama(28, 3072, 24, 8, 128, 8192, True, **LLAMA_3),
    "llama-3.1-8b": lambda: llama(32, 4096, 32, 8, 128, 14336, False, **LLAMA_3),
    "tiny": lambda: llama(2, 64, 2, 1, 32, 128, True, vocab_size=256, max_position_embeddings=512,
                          bos_token_id=1, eos_token_id=2),  # a check of this script, on any machine
}
