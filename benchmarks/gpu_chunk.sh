#!/usr/bin/env bash
# One piece of a training run on a machine with a GPU that keeps nothing between sessions.
#
#     benchmarks/gpu_chunk.sh CONFIG RUN ANATOMY [MINUTES]
#
# RUN is the folder that outlives the session: bring it along, and take it away afterwards. It
# gets the run's state (files of at most 15 MiB), metrics.tsv and metrics.png. The pool of training
# volumes is made anew, by all cores, in a scratch folder: the same seed gives the same volumes.
# MINUTES, 8 unless given, is the time for the pool and the training together; the state is
# written once more when it is over. When the last step is done, the weights and their card are
# in RUN too.
set -euo pipefail
config=$1 run=$2 anatomy=$3 minutes=${4:-8}
cd "$(dirname "$0")/.."
pool=$(mktemp -d)
trap 'rm -rf "$pool"' EXIT
nvidia-smi --query-gpu=name,memory.total --format=csv,noheader
# 16 processes with more threads each would get in each other's way.
export OMP_NUM_THREADS=1
python3 -m qsm_workflows.cli.main train "$config" --out "$run" --pool "$pool" \
    --anatomy "$anatomy" --minutes "$minutes" --device cuda --workers "$(nproc)"
du -sh "$run"
