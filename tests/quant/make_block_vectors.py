"""Writes tests/inference/vectors/bitsandbytes/bnb4_blocks.{safetensors,json}: what bitsandbytes (its CPU path)
makes of 4-bit blocks other than 64, plain and double quantised. usage: make_block_vectors.py
Needs torch, bitsandbytes, numpy, safetensors."""
import json
import pathlib

import bitsandbytes
import bitsandbytes.functional as bnb
import numpy
import torch
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parents[1] / "inference" / "vectors" / "bitsandbytes"
# rows, inputs, blocks: whole blocks in a row; blocks over row ends; more than 256 blocks; a tail of a block.
CASES = [(24, 640, (32, 128)), (48, 320, (32, 128, 256, 4096)), (6, 4096, (32, 512, 1024, 2048, 4096)), (5, 100, (32, 128))]


def generated(seed, count, shift):
    """The generator of bnb4.json."""
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(seed) + (numpy.arange(count, dtype=numpy.uint64) + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> numpy.uint64(31)
    lanes = sum(((z >> numpy.uint64(16 * k)) & numpy.uint64(0xFFFF)).astype(numpy.int64) for k in range(4))
    return ((lanes - 131070).astype(numpy.float32) * numpy.float32(2.0**-shift)).astype(numpy.float16).astype(numpy.float32)


def main():
    tensors, cases = {}, []
    for number, (rows, inputs, blocks) in enumerate(CASES):
        seed, shift = 700 + number, 20
        weight = torch.from_numpy(generated(seed, rows * inputs, shift).reshape(rows, inputs))
        for block in blocks:
            for kind in ("nf4", "fp4"):
                name = f"w{rows}x{inputs}.{kind}.b{block}"
                packed, plain = bnb.quantize_4bit(weight, blocksize=block, quant_type=kind)
                again, double = bnb.quantize_4bit(weight, blocksize=block, quant_type=kind, compress_statistics=True)
                assert torch.equal(packed, again)
                nested = double.state2
                scales = nested.code[double.absmax.long()] * nested.absmax.repeat_interleave(256)[: double.absmax.numel()] + double.offset
                for state, absmax in ((plain, plain.absmax), (double, scales)):
                    codes = torch.stack((packed.ravel() >> 4, packed.ravel() & 15), 1).ravel()[: rows * inputs].long()
                    if inputs % block != 0:
                        continue  # 0.50.2 on a CPU takes the scale of the wrong block there; a GPU does not
                    mine = state.code[codes] * absmax.repeat_interleave(block)[: rows * inputs]
                    assert torch.equal(mine, bnb.dequantize_4bit(packed, state).ravel()), name
                tensors[name + ".packed"] = packed.ravel().numpy()
                tensors[name + ".absmax"] = plain.absmax.numpy()
                tensors[name + ".dq.absmax"] = double.absmax.numpy()
                tensors[name + ".dq.nested_absmax"] = nested.absmax.numpy()
                tensors[name + ".dq.offset"] = double.offset.reshape(1).numpy()
                tensors["nested.code"] = nested.code.numpy()
            cases.append({"N": rows, "K": inputs, "block": block, "seed": seed, "shift": shift})
    save_file(tensors, FOLDER / "bnb4_blocks.safetensors")
    about = {
        "bitsandbytes": bitsandbytes.__version__,
        "torch": torch.__version__.split("+")[0],
        "device": "cpu",
        "made_by": "tests/quant/make_block_vectors.py, which also checked that bitsandbytes' dequantised weight, where"
        " rows hold whole blocks, equals code[nibble] * absmax, with absmax = nested.code[u8] * nested_absmax[block / 256] + offset where double",
        "names": "wNxK.<type>.b<block>.packed .absmax; .dq.absmax (uint8) .dq.nested_absmax .dq.offset; nested.code [256]."
        " Layout and generator of the weights: bnb4.json",
        "cases": cases,
    }
    (FOLDER / "bnb4_blocks.json").write_text(json.dumps(about, indent=1) + "\n")


main()
