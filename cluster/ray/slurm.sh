#!/usr/bin/env bash
# A run on machines that Slurm allocates: Ray is started on all of them, and `neo run` on the first.
#
#   sbatch cluster/ray/slurm.sh tiny --site my_slurm.toml
#
# The site has `[ray] address = "auto"`, `code = "local"`, and a store that all machines see. Shortly before the time
# limit Slurm sends SIGTERM: the run stops at its next commit (exit code 75), and the job is requeued, where the same
# command resumes the run. So it is if the run has not stopped in time: what is committed stays. `scancel --signal=TERM
# --batch JOB` does the same; `scancel JOB` ends it.
#SBATCH --job-name=neo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=96
#SBATCH --gpus-per-node=8
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=neo-%j.txt
set -euo pipefail

asked=0
driver=
trap 'asked=1; [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null || true' TERM

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # the Ray of each machine ends with this script

INTERRUPTED=75
PORT=6379
HEAD_SECONDS="${NEO_HEAD_SECONDS:-300}"     # how long the head of Ray may take to answer
STOP_SECONDS="${NEO_STOP_SECONDS:-270}"     # how long a run that is asked to stop may take, of Slurm's 300 s above
VENV="${NEO_VENV:-$PWD/.venv}"
export PATH="$VENV/bin:$PATH" RAY_USAGE_STATS_ENABLED=0

# One token for this job's Ray, so that nobody else on these machines can reach it. srun hands the environment on.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN="$(openssl rand -hex 32)"
export RAY_AUTH_TOKEN
# Short, since the path of a Unix socket has at most 107 characters; private to this job.
export RAY_TMPDIR="/tmp/$USER-$SLURM_JOB_ID"

mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head="${machines[0]}"
export RAY_ADDRESS="$head:$PORT"

start_ray() { # MACHINE ARGUMENTS...: Ray on one machine, for as long as this job lasts
    local machine="$1"
    shift
    # A step has one CPU unless it is told otherwise (since Slurm 22.05), and all that Ray starts would share it.
    srun --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" --overlap --nodelist="$machine" \
        ray start --block --disable-usage-stats --temp-dir="$RAY_TMPDIR" \
        --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "$@" &
}

requeue() { # This job again, where the same command resumes the run
    scontrol requeue "$SLURM_JOB_ID"
    exit "$INTERRUPTED"
}

start_ray "$head" --head --port="$PORT" --include-dashboard=false
head_step=$!
until ray health-check --address "$RAY_ADDRESS" >/dev/null 2>&1; do
    [ "$asked" -eq 0 ] || requeue
    if ! kill -0 "$head_step" 2>/dev/null || [ "$SECONDS" -ge "$HEAD_SECONDS" ]; then
        echo "neo: Ray on $head does not answer at $RAY_ADDRESS after $SECONDS s; what it said stands above" >&2
        exit 1
    fi
    sleep 1
done
for machine in "${machines[@]:1}"; do
    start_ray "$machine" --address="$RAY_ADDRESS"
done

[ "$asked" -eq 0 ] || requeue
neo run "$@" &
driver=$!
[ "$asked" -eq 0 ] || kill -TERM "$driver" # asked while it was started
stop_by=
# A signal that arrives just as `wait` begins is handled only once that `wait` ends, so none of them lasts long.
while kill -0 "$driver" 2>/dev/null; do
    sleep 2 &
    wait "$!" || true
    [ "$asked" -eq 0 ] || stop_by="${stop_by:-$((SECONDS + STOP_SECONDS))}"
    if [ -n "$stop_by" ] && [ "$SECONDS" -ge "$stop_by" ]; then
        echo "neo: the run has not stopped within $STOP_SECONDS s; the job is requeued all the same" >&2
        kill -KILL "$driver" 2>/dev/null || true
        requeue
    fi
done
code=0
wait "$driver" || code=$?
[ "$code" -ne "$INTERRUPTED" ] || requeue
exit "$code"
