#!/usr/bin/env bash
# Every figure that needs a GPU, in at most ten minutes: training speed, share of the peak FLOP/s, and generation.
#
#     bench/gpu.sh OUT           writes OUT/train.json, OUT/generate.json and OUT/gpu.txt
#     SIZE=tiny bench/gpu.sh OUT  the same commands on small models, also without a GPU
#
# Needs the extras `local` and `train` in PYTHON (default: python3). Weights are random, so nothing is fetched.
# A part that fails or runs out of time leaves its error beside its figures; the script then ends with status 1.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: bench/gpu.sh OUT}
mkdir -p "$out"
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-python3}
status=0

part() { # NAME SECONDS COMMAND…
  timeout "$2" "${@:3}" > "$out/$1.json" 2> "$out/$1.err" || { echo "$1: failed, see $out/$1.err" >&2; status=1; }
}

nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv > "$out/gpu.txt" 2>&1 || echo "no GPU" > "$out/gpu.txt"
part train 400 "$python" -m bench.train --device cuda --size "${SIZE:-full}" --json
part generate 120 "$python" -m bench.generate --json --size "${SIZE:-full}" \
  --batch "$([ "${SIZE:-full}" = full ] && echo 256 || echo 4)" --new "$([ "${SIZE:-full}" = full ] && echo 16 || echo 8)"
exit $status
