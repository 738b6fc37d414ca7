#!/usr/bin/env bash
# Every figure that needs a GPU, in at most ten minutes: training speed, share of the peak FLOP/s, and generation.
#
#     bench/gpu.sh OUT           writes OUT/train.json, OUT/generate.json and OUT/gpu.txt
#     SIZE=tiny bench/gpu.sh OUT  the same commands on small models, also without a GPU
#     bench/gpu.sh --plan        prints the time limit of each part, and how long it takes by arithmetic; runs nothing
#
# Needs the extras `local` and `train` in PYTHON (default: python3). Weights are random, so nothing is fetched.
# A part that fails or runs out of time leaves its error beside its figures; the script then ends with status 1.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: bench/gpu.sh OUT, or bench/gpu.sh --plan}
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-python3} size=${SIZE:-full} status=0
train_limit=400 generate_limit=120
training=("$python" -m bench.train --device cuda --size "$size")
generation=("$python" -m bench.generate --json --size "$size")
if [ "$size" = full ]; then generation+=(--batch 256 --new 16); else generation+=(--batch 4 --new 8); fi

if [ "$out" = --plan ]; then
  echo "limits: training $train_limit s, generation $generate_limit s, together $((train_limit + generate_limit)) s"
  "${training[@]}" --plan && exec "${generation[@]}" --plan
  exit 1
fi

part() { # NAME SECONDS COMMAND…
  timeout "$2" "${@:3}" > "$out/$1.json" 2> "$out/$1.err" || { echo "$1: failed, see $out/$1.err" >&2; status=1; }
}

mkdir -p "$out"
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv > "$out/gpu.txt" 2>&1 || echo "no GPU" > "$out/gpu.txt"
part train "$train_limit" "${training[@]}" --json
part generate "$generate_limit" "${generation[@]}"
exit $status
