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


def plant_outliers(model, columns, scale):
    """Scales `columns` input features of every norm, so that a threshold finds that many outlier columns a layer."""
    for name, module in model.named_modules():
        if "norm" in name.lower() or ".ln_" in name:
            if getattr(module, "weight", None) is not None and columns > 0:
                module.weight.data[:columns] *= scale
