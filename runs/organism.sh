#!/usr/bin/env bash
# The organism, from nothing: corpus → tokenizer and random weights → training → requirement table.
# About twenty-five minutes on one CPU core.  The same seed gives the same corpus and tokenizer to the byte, and weights
# that differ only by the order in which another machine takes floating-point sums.
#
#   runs/organism.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-results/organism}
export OMP_NUM_THREADS=1

holdfast organism corpus --count 60000 --seed 0 --out "$out/corpus"
holdfast organism fresh --corpus "$out/corpus" --seed 0 --out "$out/fresh"
holdfast train runs/organism.toml --base "$out/fresh" --examples "$out/corpus" --out "$out/pocket"
holdfast organism check --model "hf/$out/pocket" --card "$out/pocket/README.md"
