#!/bin/sh
# Installs qsm-workflows into an environment of its own, /opt/qsm-wf. The Dockerfile and the
# Apptainer recipe both run this, so what is in an image is said here and nowhere else.
#
# Usage: provision.sh SOURCE [TORCH_INDEX]
#   SOURCE       folder with this repository
#   TORCH_INDEX  index to take PyTorch's build from; without it, pip's own
set -eu

source=$1
torch_index=${2:-}

# An environment of its own does not see packages of a home folder that the container mounts.
python3 -m venv /opt/qsm-wf
# A version with a build's name, such as 2.13.0+cpu, counts as newer than the plain one.
/opt/qsm-wf/bin/pip install --no-cache-dir --constraint "$source/constraints.txt" \
    ${torch_index:+--extra-index-url "$torch_index"} "$source"
