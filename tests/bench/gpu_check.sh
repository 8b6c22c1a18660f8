#!/usr/bin/env bash
# Everything that wants a card, in one call: parity of kernels and engine, then the table of decode and prefill.
# usage: gpu_check.sh [BIN [parity|bench|all]]     BIN: a folder with the built programs (default: build)
# Programs that were built on another machine find libtorch through TORCH_LIB, or through this machine's Python.
# Ends with 1 when a check failed. Without a card it says so and ends with 0.
set -uo pipefail
bin=${1:-build}
what=${2:-all}
root=$(cd "$(dirname "$0")/../.." && pwd)

find_program() {
    for folder in "$bin" "$bin/bin" "$bin/tests"; do
        [ -x "$folder/$1" ] && echo "$folder/$1" && return
    done
}

torch_lib=${TORCH_LIB:-$(python3 -c 'import torch, os; print(os.path.join(os.path.dirname(torch.__file__), "lib"))' 2>/dev/null)}
if [ -n "$torch_lib" ]; then
    LD_LIBRARY_PATH=$torch_lib:$(find "$torch_lib/../../nvidia" -maxdepth 3 -type d -name lib 2>/dev/null | tr '\n' ':')${LD_LIBRARY_PATH:-}
fi
[ -d "$bin/lib" ] && LD_LIBRARY_PATH=$bin/lib:${LD_LIBRARY_PATH:-}
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-} BITSWEEP_SOURCE_DIR=$root

runner=$(find_program bitsweep-runner)
if [ -z "$runner" ]; then
    echo "gpu_check: no bitsweep-runner under $bin" >&2
    exit 2
fi
if ! "$runner" capabilities 2>/dev/null | grep -q '"cuda:0"'; then
    echo "gpu_check: no card here"
    exit 0
fi
"$runner" capabilities | grep -o '{"facts[^}]*}[^}]*"cuda:0"[^}]*}' || "$runner" capabilities

failed=0
run() {
    echo "== $*"
    "$@" || { echo "== FAILED ($?): $*"; failed=1; }
}

if [ "$what" != bench ]; then
    for test in test_inference_cuda test_gpu_decode; do
        program=$(find_program $test)
        [ -n "$program" ] && run "$program"
    done
    program=$(find_program bench_gpu_decode)
    [ -n "$program" ] && run "$program" parity
    # Quality of each method on the card against fp32 on this machine's CPU: kl_mean of fp16 is below 1e-4.
    for method in fp16 int8 w8a8 llmint8-fused int4-g64 nf4; do
        run "$runner" perplexity --device cuda:0 --model "$root/experiments/models/llama-micro" --method $method \
            --data "$root/experiments/data" --format json
    done
fi
if [ "$what" != parity ]; then
    run "$runner" bench --device cuda:0 --prompt-tokens 16 --rounds 3 --json  # three shapes, six methods
fi
exit $failed
