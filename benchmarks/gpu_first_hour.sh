#!/usr/bin/env bash
# The first hour on a machine with H100 or H200 GPUs: everything that was reasoned and never run, in the order in which
# one failure explains the next. Each step says what is expected; the script goes on past a failure and counts them.
#
#   bash benchmarks/gpu_first_hour.sh [LOG_FOLDER]        from the root of a checkout, with its environment active
#
# One GPU is enough for all but step 3, which needs two and says so.
set -uo pipefail
logs=${1:-gpu_first_hour}
mkdir -p "$logs"
failures=0

step() { # step NAME "what is expected" COMMAND...
    local name=$1 expected=$2 began=$SECONDS
    shift 2
    printf '\n== %s\n   expected: %s\n   %s\n' "$name" "$expected" "$*"
    if "$@" >"$logs/$name.log" 2>&1; then
        printf '   done in %d s\n' $((SECONDS - began))
    else
        failures=$((failures + 1))
        printf '   FAILED after %d s; the end of %s:\n' $((SECONDS - began)) "$logs/$name.log"
        tail -n 15 "$logs/$name.log" | sed 's/^/      /'
    fi
    grep -hE 'tokens/s|losses differ|passed|failed' "$logs/$name.log" | sed 's/^/   | /'
}

num_gpus=$(python -c "import torch; print(torch.cuda.device_count())") || exit 2
if [ "$num_gpus" -eq 0 ]; then
    echo "no CUDA device here: torch finds none" >&2
    exit 2
fi
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
python -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)'

step 1_kernels "all pass: flash, flex and sdpa agree at heads of 256 and 128, 4,096-token pictures, lengths off the grid" \
    python -m pytest -p no:cacheprovider -q -m gpu tests/neo_model/test_cuda.py

step 2_copies "passes: batches are copied while the GPU computes" \
    python -m pytest -p no:cacheprovider -q -m gpu tests/stages/training/engine/test_device_copies.py

if [ "$num_gpus" -ge 2 ]; then
    ranks=2
else
    ranks=1
    echo "   one GPU: the resumes below run on one rank, and say nothing of NCCL between two"
fi
step 3a_resumes "six lines, losses differ by less than 1e-2: ZeRO 1, 2, 3, each with and without offload" \
    python -m benchmarks.two_ranks --ranks "$ranks"
step 3b_resumes_to_the_bit "six lines, losses differ by 0" \
    python -m benchmarks.two_ranks --ranks "$ranks" --deterministic
step 3c_resumes_compiled "six lines, less than 1e-2; ZeRO 3 says that compile_layers is off" \
    python -m benchmarks.two_ranks --ranks "$ranks" --compile
if [ "$num_gpus" -ge 2 ]; then
    step 3d_shared_rows "six lines: two ranks share each row, losses differ by 0, and by less than 2e-2 from unshared" \
        python -m benchmarks.two_ranks --sequence-ranks 2 --deterministic
fi

step 4_recompiles "20 lengths of rows, no more compilations than lengths on the grid (twice, for layers)" \
    python -m pytest -p no:cacheprovider -q -m gpu tests/neo_model/test_cuda.py -k twenty_lengths

# Memory: the two figures of a line agree within a tenth. Throughput: compiled above eager by about a third at 2B.
step 5a_step_eager "2B, both stages, through the engine: peak within a tenth of the estimate" \
    python -m benchmarks.large_step --eager
step 5b_step_compiled "the same with compiled layers: about a third more tokens/s, MFU of 0.4 or above in stage 2" \
    python -m benchmarks.large_step
step 5c_step_flex "the same with flex: within 1.3 times the time of flash" \
    python -m benchmarks.large_step --backend flex
step 5d_step_bare "the model alone: the engine above costs less than 5% beside it, its update not counted" \
    python -m benchmarks.large_step --bare

step 6_peer "stage 2 takes at most half of the time of the model written plainly, as the released kit computes it" \
    python -m benchmarks.large_step --tokens 17000 --peer --steps 3

step 7_step_9b "9B, stage 1 alone fits 80 GB; stage 2 ends with 'out of memory' on one GPU: a failure that is expected" \
    python -m benchmarks.large_step --size 9b --bare

printf '\n%d of the steps failed; logs in %s\n' "$failures" "$logs"
exit $((failures > 0))
