#!/bin/bash
# One subject a job, on a SLURM cluster with Apptainer:
#
#   sbatch --array=0-19 containers/slurm.sh IMAGE BIDS OUT WORK [options of `qsm-wf run`]
#
# for a dataset of 20 subjects. The jobs share OUT and WORK. Once they have ended, make the page
# and tables of all subjects:
#
#   apptainer run --bind BIDS:BIDS:ro --bind OUT IMAGE BIDS OUT group
#
# Partition, account and such go before the name of this script, or in SBATCH_* variables.
#SBATCH --job-name=qsm-wf
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
set -euo pipefail

image=$1 bids=$(realpath "$2") out=$3 work=$4
shift 4
# A folder has to be there to be bound. All have the same path inside and outside.
mkdir -p "$out" "$work"
out=$(realpath "$out") work=$(realpath "$work")

subjects=("$bids"/sub-*/)
subject=$(basename "${subjects[SLURM_ARRAY_TASK_ID]}")

# Not every cluster holds a job to its memory in a way that can be read inside it; a tenth is left
# to Python itself. SLURM counts in MB.
memory=$((SLURM_MEM_PER_NODE * 9 / 10000))

exec apptainer run --bind "$bids:$bids:ro" --bind "$out" --bind "$work" "$image" \
    "$bids" "$out" participant --participant-label "$subject" --work "$work" \
    --n-procs "$SLURM_CPUS_PER_TASK" --mem "$memory" --no-progress "$@"
