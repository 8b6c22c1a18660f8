#!/usr/bin/env python3
"""What users have today, measured on the shapes that bitsweep measures: transformers, bitsandbytes, llama.cpp.

Random weights, batch 1, greedy, exactly --tokens new tokens after warm-up; speed and memory only. Prints a table;
--json FILE writes every repetition as it comes (a killed run keeps its rows), --csv FILE what `bitsweep import` reads.
Run it where its packages are, in the same minutes as `bitsweep-runner bench --device cuda:0`.

usage: peers.py [--shapes gpt2,llama-3.2-1b] [--methods fp16,compile,llmint8-6,llmint8-0,nf4] [--device cuda]
                [--llama-bench PROGRAM --gguf FILE...]
"""
import argparse
import csv
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import torch
import transformers

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import quantize  # noqa: E402
import shapes  # noqa: E402

METHODS = {
    "fp16": "transformers eager, fp16",
    "compile": "the same, torch.compile with a static cache (CUDA graphs)",
    "llmint8-6": "bitsandbytes LLM.int8(), threshold 6",
    "llmint8-0": "bitsandbytes LLM.int8(), no decomposition",
    "nf4": "bitsandbytes NF4",
}
# The columns that `bitsweep import` reads (bitsweep import --help).
COLUMNS = ["tool", "model", "method", "threshold", "gpu", "host", "parameters", "batch", "prompt_tokens", "new_tokens",
           "decode_tokens_per_s", "weights_bytes", "note"]


def bitsandbytes_version():
    try:
        import bitsandbytes
        return bitsandbytes.__version__
    except Exception as problem:  # its import fails in many ways: missing, no CUDA library, wrong torch
        return f"not importable: {str(problem).splitlines()[0] if str(problem) else type(problem).__name__}"


def software():
    return f"torch {torch.__version__}, transformers {transformers.__version__}, bitsandbytes {bitsandbytes_version()}"


def device_name(device):
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def build(shape, device, outliers):
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device):
            model = transformers.AutoModelForCausalLM.from_config(shapes.SHAPES[shape](), attn_implementation="sdpa")
    finally:
        torch.set_default_dtype(before)
    quantize.plant_outliers(model, outliers)
    return model.eval()


def prepare(model, method):
    if method.startswith("llmint8-"):
        threshold = float(method.partition("-")[2])
        return quantize.replace_linears(model, lambda module: quantize.llmint8(module, threshold))
    if method == "nf4":
        return quantize.replace_linears(model, lambda module: quantize.four_bits(module, "nf4"))
    if method == "compile":
        model.generation_config.cache_implementation = "static"
        model.forward = torch.compile(model.forward, mode="reduce-overhead", fullgraph=True)
    return model


class Clock:
    """Host clock and, on a GPU, events on its stream, around the same call."""

    def __init__(self, device):
        self.cuda = device == "cuda"

    def __enter__(self):
        if self.cuda:
            torch.cuda.synchronize()
            self.begin, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self.begin.record()
        self.host = time.perf_counter()
        return self

    def __exit__(self, *_):
        if self.cuda:
            self.end.record()
            torch.cuda.synchronize()
        self.host = time.perf_counter() - self.host
        self.device = self.begin.elapsed_time(self.end) / 1e3 if self.cuda else None


def generate(model, ids, tokens):
    return model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens,
                          do_sample=False, use_cache=True, pad_token_id=0)


def measure(shape, method, options):
    """One row: repetitions of one shape and method, or why there are none."""
    row = {"stack": "transformers" + ("+bitsandbytes" if method in ("llmint8-6", "llmint8-0", "nf4") else ""),
           "model": shape, "method": method, "batch": 1, "prompt_tokens": options.prompt, "new_tokens": options.tokens,
           "outlier_columns": options.outliers, "host_s": [], "device_s": []}
    if "bitsandbytes" in row["stack"] and bitsandbytes_version().startswith("not importable"):
        row["skipped"] = "bitsandbytes " + bitsandbytes_version()
        return row
    try:
        model = prepare(build(shape, options.device, options.outliers), method)
        row["parameters"] = model.num_parameters() if method in ("fp16", "compile") else ""
        if options.device == "cuda":
            row["device_bytes"] = torch.cuda.memory_allocated()
        vocabulary = model.config.vocab_size
        ids = torch.randint(3, vocabulary, (1, options.prompt), device=options.device)
        with torch.inference_mode():
            for _ in range(options.warmup):
                generate(model, ids, options.tokens)
            for _ in range(options.repeats):
                with Clock(options.device) as clock:
                    out = generate(model, ids, options.tokens)
                assert out.shape[1] == options.prompt + options.tokens, "another number of tokens came out"
                row["host_s"].append(clock.host)
                row["device_s"].append(clock.device)
    except Exception as problem:
        row["skipped"] = f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
    model = None
    gc.collect()
    if options.device == "cuda":
        torch.compiler.reset()
        torch.cuda.empty_cache()
    return row


def llama_bench(options):
    """Rows of llama.cpp's own benchmark over GGUF files, from its raw samples: its means count a cold first run."""
    for path in options.gguf:
        command = [options.llama_bench, "-m", path, "-p", "0", "-n", str(options.tokens), "-r",
                   str(options.repeats + 1), "-o", "json"]
        row = {"stack": "llama.cpp", "model": os.path.basename(path), "method": "", "batch": 1, "prompt_tokens": 0,
               "new_tokens": options.tokens, "host_s": [], "device_s": []}
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            row["skipped"] = (run.stderr.strip().splitlines() or ["no words"])[-1]
        for one in json.loads(run.stdout) if run.returncode == 0 else []:
            row["method"] = one["model_type"]
            row["host_s"] = [options.tokens / rate for rate in one["samples_ts"][1:]]
            row["device_s"] = [None] * len(row["host_s"])
        yield row


def rate(row):
    return row["new_tokens"] / statistics.median(row["host_s"]) if row["host_s"] else None


def print_row(row, baseline):
    if "skipped" in row:
        print(f"{row['model']:<14} {row['method']:<10} not measured: {row['skipped']}", flush=True)
        return
    rates = [row["new_tokens"] / seconds for seconds in row["host_s"]]
    device = [seconds for seconds in row["device_s"] if seconds]
    events = f"{row['new_tokens'] / statistics.median(device):10.1f}" if device else f"{'-':>10}"
    over = f"{rate(row) / baseline:7.2f}x" if baseline else f"{'-':>8}"
    memory = f"{row['device_bytes'] / 2**20:9.0f}" if "device_bytes" in row else f"{'-':>9}"
    print(f"{row['model']:<14} {row['method']:<10} {rate(row):10.1f} ({min(rates):.1f}-{max(rates):.1f}) {events} "
          f"{over} {memory}", flush=True)


def host_name():
    """The CPU: what these stacks depend on most."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return f"{len(names)} x {names[0]}"
    except (OSError, IndexError):
        return platform.machine()


def csv_row(row, facts):
    method, _, threshold = row["method"].partition("-")
    tool = facts["software"] if row["stack"].startswith("transformers") else row["stack"]
    return {"tool": tool, "model": row["model"], "method": {"llmint8": "llm.int8"}.get(method, method) or "gguf",
            "threshold": threshold, "gpu": facts["device"], "host": facts["host"],
            "parameters": row.get("parameters", ""), "batch": row["batch"],
            "prompt_tokens": row["prompt_tokens"] or "", "new_tokens": row["new_tokens"],
            "decode_tokens_per_s": rate(row), "weights_bytes": row.get("device_bytes", ""),
            "note": f"median of {len(row['host_s'])} after warm-up, prefill included; random weights"}


def write(rows, options):
    facts = {"device": device_name(options.device), "host": host_name(), "software": software()}
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({**facts, "rows": rows}, file, indent=1)
    if options.csv:
        with open(options.csv, "w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, COLUMNS)
            out.writeheader()
            out.writerows(csv_row(row, facts) for row in rows if row["host_s"])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default="gpt2,llama-3.2-1b", help=", ".join(shapes.SHAPES))
    parser.add_argument("--methods", default=",".join(METHODS), help="; ".join(f"{k}: {v}" for k, v in METHODS.items()))
    parser.add_argument("--cases", help="SHAPE:METHOD,... instead of every method of every shape")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--prompt", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--warmup", type=int, default=1, help="whole generations; the first is cold (1)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--outliers", type=int, default=6, help="input features planted above the threshold (6)")
    parser.add_argument("--json")
    parser.add_argument("--csv")
    parser.add_argument("--llama-bench", help="llama.cpp's program; with --gguf")
    parser.add_argument("--gguf", nargs="*", default=[])
    return parser.parse_args()


def cases_of(options):
    pairs = ([tuple(case.split(":", 1)) for case in options.cases.split(",")] if options.cases else
             [(shape, method) for shape in options.shapes.split(",") for method in options.methods.split(",")])
    for pair in pairs:
        if len(pair) != 2 or pair[0] not in shapes.SHAPES or pair[1] not in METHODS:
            sys.exit(f"peers.py: no case {':'.join(pair)}; shapes: {', '.join(shapes.SHAPES)}; "
                     f"methods: {', '.join(METHODS)}")
    return pairs


def main():
    options = arguments()
    pairs = cases_of(options)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("peers.py: torch sees no CUDA device; --device cpu checks the script")
    transformers.logging.set_verbosity_error()
    print(f"{device_name(options.device)}; {software()}")
    print(f"{'model':<14} {'method':<10} {'token/s':>10} (range) {'by events':>10} {'vs fp16':>8} {'MiB':>9}")
    rows, fp16 = [], {}
    for shape, method in pairs:
        rows.append(measure(shape, method, options))
        if method == "fp16":
            fp16[shape] = rate(rows[-1])
        print_row(rows[-1], fp16.get(shape))
        write(rows, options)
    for row in llama_bench(options) if options.llama_bench else []:
        rows.append(row)
        print_row(row, None)
        write(rows, options)


if __name__ == "__main__":
    main()
