#!/usr/bin/env bash
# A study on Slurm: a Ray cluster over the allocated nodes, and `tune-cmx search` on it. From the project's folder, on a
# file system that every node sees and in which `make .venv/.ready` has run:
#
#   sbatch --account=ACCOUNT --partition=PARTITION scripts/cluster/slurm.sh \
#       search_spaces/cssa_stages.yaml --data /shared/DATA --output-dir /shared/runs --gpus-per-trial 0.5
#
# Near its time limit, after preemption and after the loss of its first node the job is queued again, and the study
# resumes. `scancel JOB` ends it for good; the same sbatch line resumes it. See docs/cluster.md.

#SBATCH --job-name=tune-cmx
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:a100:4
#SBATCH --cpus-per-task=32
#SBATCH --mem=240G
#SBATCH --time=24:00:00
#SBATCH --output=tune-cmx-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --signal=B:USR1@300

set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
PATH="$PWD/.venv/bin:$PATH"

# Ray listens on every interface of a node, and who reaches it may run programs as you: hence a token, of this job alone.
umask 077
RAY_AUTH_TOKEN_PATH="$PWD/.ray-token-$SLURM_JOB_ID"
python -c 'import secrets; print(secrets.token_hex(32))' >"$RAY_AUTH_TOKEN_PATH"
export RAY_AUTH_TOKEN_PATH RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
umask 022

head_ip="${RAY_HEAD_IP:-$(hostname --ip-address | awk '{print $1}')}"
port=$((20000 + SLURM_JOB_ID % 4000)) # other jobs' heads may run on this node too
dashboard_port=$((port + 4000))
client_port=$((port + 8000))
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
steps=()

start_node() { # NODE, further words for `ray start`
    local node=$1
    shift
    srun --nodes=1 --ntasks=1 --nodelist="$node" --cpus-per-task="$SLURM_CPUS_PER_TASK" --no-kill \
        ray start --block "$@" --num-cpus="$SLURM_CPUS_PER_TASK" --object-store-memory=1000000000 \
        --temp-dir="/tmp/ray-$SLURM_JOB_ID/${#steps[@]}" --log-style=record &
    steps+=($!)
}

finish() {
    local step
    for step in "${steps[@]:1}" "${steps[@]:0:1}"; do # the head last: without it a worker waits before it goes
        kill "$step" 2>/dev/null || true
        wait "$step" 2>/dev/null || true
    done
    rm -f "$RAY_AUTH_TOKEN_PATH"
}
trap finish EXIT

start_node "${nodes[0]}" --head --node-ip-address="$head_ip" --port="$port" --dashboard-port="$dashboard_port" \
    --ray-client-server-port="$client_port"
for _ in $(seq 120); do
    ray health-check --address "$head_ip:$port" &>/dev/null && break
    kill -0 "${steps[0]}" || exit 1
    sleep 1
done
for node in "${nodes[@]:1}"; do
    start_node "$node" --address="$head_ip:$port"
done
echo "Ray: $head_ip:$port on ${nodes[*]}; dashboard: ssh -L 8265:127.0.0.1:$dashboard_port ${nodes[0]}"

# Signals: USR1 comes before the time limit, TERM with preemption; either ends the search as Ctrl-C does. Slurm itself
# queues a preempted job again, and kills this script at the latest then.
search=
signalled=
stop_search() {
    signalled=$1
    [[ -z $search ]] || kill -TERM "$search" 2>/dev/null || true
}
trap 'stop_search USR1' USR1
trap 'stop_search TERM' TERM

python scripts/search.py "$@" --resume-or-start --address "$head_ip:$port" &
search=$!
code=0
wait "$search" || code=$?
if [[ -n $signalled ]]; then # the signal, not the search, ended the first wait
    code=0
    wait "$search" || code=$?
fi
if [[ $signalled == USR1 && $code -ne 0 ]]; then
    echo "the time is up: queued again"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
