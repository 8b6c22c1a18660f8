"""Prints, from methods.csv beside it, KL divergence of every method and model and which of the orders that papers report
hold. usage: orders.py"""
import csv
import pathlib

ROWS = list(csv.DictReader((pathlib.Path(__file__).parent / "methods.csv").open()))
MODELS = [model for model in ("gpt2-nano", "opt-nano", "llama-micro", "llama-mini", "smollm2-135m")
          if any(row["model"] == model for row in ROWS)]


def name_of(row):
    return row["method"] + ("@" + row["threshold"] if row["threshold"] else "")


KL = {(row["model"], name_of(row)): float(row["kl_mean"]) for row in ROWS}

# Each: what is said, and pairs of methods of which the first loses no more than the second.
WIDTHS = [(f"int{b + 1}-g64", f"int{b}-g64") for b in range(2, 8)]
WIDTHS += [(p.format(b + 1), p.format(b)) for p in ("int{}-g64-asym", "hqq-int{}-g64", "gptq-int{}-g64", "awq-int{}-g64") for b in (2, 3)]
BLOCKS = [("nf4-b32", "nf4"), ("nf4", "nf4-b128"), ("nf4-b128", "nf4-b1024"), ("nf4-b1024", "nf4-b4096")]
ABLATIONS = ["int8-absmax-tensor", "int8-rowwise", "int8-vectorwise", "int8-zeropoint", "int8-zeropoint-vectorwise"]
DECOMPOSED = ["llmint8-bnb", "llmint8-fused", "llmint8-paper"] + ABLATIONS
T = (0, 3, 6)
ORDERS = [
    ("more bits are never worse for one method", WIDTHS),
    ("groups beat a scale per channel at 4 bits", [(f"int4-g{g}", "int4-g1024") for g in (16, 64, 128)]),
    ("smaller groups are never worse", [("int4-g16", "int4-g64"), ("int4-g64", "int4-g128"), ("int2-g32", "int2-g64")]),
    ("shorter blocks are never worse", BLOCKS),
    ("GPTQ beats rounding to nearest", [(f"gptq-int{b}-g64", f"int{b}-g64") for b in (4, 3, 2)]),
    ("AWQ beats rounding to nearest (its zeros, too)", [(f"awq-int{b}-g64", f"int{b}-g64-asym") for b in (4, 3, 2)]),
    ("a zero beside the scale is never worse", [(f"int{b}-g64-asym", f"int{b}-g64") for b in (4, 3, 2)]),
    ("HQQ's zeros beat those of the range", [(f"hqq-int{b}-g64", f"int{b}-g64-asym") for b in (4, 3, 2)]),
    ("nf4 beats fp4 and int4-g64", [("nf4", "fp4"), ("nf4", "int4-g64")]),
    ("double quantisation costs less than a hundredth", [("nf4-b64-dq", "nf4", 1.01), ("fp4-b64-dq", "fp4", 1.01)]),
    ("fp8 per channel is no worse than per tensor", [("fp8-channel", "fp8")]),
    ("int8 beats fp8 at the same bytes", [("int8", "fp8-channel")]),
    ("taking outliers out is never worse than not, LLM.int8()", [(f"{m}@{t}", f"{m}@0") for m in DECOMPOSED[:3] for t in (6, 3)]),
    *[(f"taking outliers out is never worse than not, {m}", [(f"{m}@{t}", f"{m}@0") for t in (6, 3)]) for m in ABLATIONS],
    ("a scale a row of inputs beats one a tensor", [(f"int8-rowwise@{t}", f"int8-absmax-tensor@{t}") for t in T]),
    ("a scale each row of weights, too, beats one", [(f"int8-vectorwise@{t}", f"int8-rowwise@{t}") for t in T]),
    ("zero points beat absmax a tensor", [(f"int8-zeropoint@{t}", f"int8-absmax-tensor@{t}") for t in T]),
    ("zero points beat absmax a vector", [(f"int8-zeropoint-vectorwise@{t}", f"int8-vectorwise@{t}") for t in T]),
    ("outliers times their fp16 weights are no worse than times int8 ones", [(f"llmint8-paper@{t}", f"llmint8-bnb@{t}") for t in (6, 3)]),
    ("SmoothQuant loses more from o1 to o3", [("smoothquant-o1", "smoothquant-o2"), ("smoothquant-o2", "smoothquant-o3")]),
]


def print_table():
    bits = {name_of(row): row["bits_per_weight"] for row in ROWS if row["model"] == "llama-micro"}
    print("| method | bits per weight (llama-micro) | " + " | ".join(MODELS) + " |\n|---|---|" + "---|" * len(MODELS))
    for name in sorted({name for _, name in KL}, key=lambda n: -KL.get(("llama-micro", n), 0)):
        figures = [f"{KL[m, name]:.2g}" if (m, name) in KL else "" for m in MODELS]
        print(f"| {name} | {bits.get(name, '')} | " + " | ".join(figures) + " |")


def print_orders():
    print("\n| order | holds in | exceptions |\n|---|---|---|")
    for said, pairs in ORDERS:
        held, broken = 0, []
        for better, worse, *slack in pairs:
            for model in MODELS:
                if (model, better) in KL and (model, worse) in KL:
                    a, b = KL[model, better], KL[model, worse]
                    if a <= b * (slack or [1])[0]:
                        held += 1
                    else:
                        broken.append(f"{model}: {better} {a:.3g}, {worse} {b:.3g}")
        print(f"| {said} | {held} of {held + len(broken)} | " + "; ".join(broken) + " |")


print_table()
print_orders()
