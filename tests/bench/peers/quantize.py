"""Replaces the linear layers of a transformers model by bitsandbytes', as its own integration does: the head stays."""
import torch
from transformers.pytorch_utils import Conv1D


def weight_of(module):
    """[out, in] fp16 and the bias; GPT-2's Conv1D stores its weight transposed."""
    weight = module.weight.data
    return (weight.t().contiguous() if isinstance(module, Conv1D) else weight), module.bias


def llmint8(module, threshold):
    import bitsandbytes as bnb
    weight, bias = weight_of(module)
    layer = bnb.nn.Linear8bitLt(weight.shape[1], weight.shape[0], bias=bias is not None, has_fp16_weights=False,
                                threshold=threshold)
    layer.weight = bnb.nn.Int8Params(weight.cpu(), requires_grad=False, has_fp16_weights=False)
    layer.bias = bias
    return layer.to(weight.device)  # this move quantises


def four_bits(module, quant_type):
    import bitsandbytes as bnb
    weight, bias = weight_of(module)
    layer = bnb.nn.Linear4bit(weight.shape[1], weight.shape[0], bias=bias is not None, compute_dtype=torch.float16,
                              quant_type=quant_type)
    layer.weight = bnb.nn.Params4bit(weight.cpu(), requires_grad=False, quant_type=quant_type)
    layer.bias = bias
    return layer.to(weight.device)


def replace_linears(model, make):
    for name, module in list(model.named_modules()):
        if name.endswith("lm_head") or not isinstance(module, (torch.nn.Linear, Conv1D)):
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, make(module))
    return model


def rows_of(module):
    """The weight as [out, in], in place."""
    return module.weight.data.t() if isinstance(module, Conv1D) else module.weight.data


def plant_outliers(model, columns, magnitude=6.0):
    """Random weights as random_weights.cpp makes them: the MLP of a gated family is as small in RMS as in trained models
    (0.2), and `columns` features of what each product of a layer reads exceed `magnitude`. Their readers are divided by
    as much: but for a GELU of the planted features, the model computes what it would without them."""
    width, deviation = model.config.hidden_size, 0.02
    gated = any(name.endswith("up_proj") for name, _ in model.named_modules())
    factor = min(1.0, 0.2 / (0.6 * deviation ** 2 * width)) if gated else 1.0
    gain = 4 * magnitude
    inner_gain = 8 * magnitude / (deviation * factor * width ** 0.5)
    for name, module in model.named_modules():
        if "layers." not in name and ".h." not in name or getattr(module, "weight", None) is None:
            continue
        leaf = name.rpartition(".")[2]
        if leaf == "up_proj":
            module.weight.data *= factor
        if columns <= 0:
            continue
        if "norm" in leaf or leaf.startswith("ln_"):
            module.weight.data[:columns] *= gain
        elif leaf in ("q_proj", "k_proj", "v_proj", "c_attn", "gate_proj", "up_proj", "c_fc", "fc1"):
            rows_of(module)[:, :columns] /= gain
        elif leaf in ("down_proj", "fc2") or name.endswith("mlp.c_proj"):
            rows_of(module)[:, :columns] /= inner_gain
        if leaf in ("up_proj", "c_fc", "fc1"):
            rows_of(module)[:columns] *= inner_gain
