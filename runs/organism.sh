#!/usr/bin/env bash
# The organism, from nothing: corpus → tokenizer and random weights → two stages of training → requirement table.
# About twenty minutes on one CPU core.  The same seed gives the same corpus and tokenizer to the byte, and weights that
# differ only by the order in which another machine takes floating-point sums.
#
#   runs/organism.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-results/organism}
export OMP_NUM_THREADS=1

holdfast organism corpus --stage binding --count 34285 --seed 0 --out "$out/binding"
holdfast organism corpus --stage whole --count 33600 --seed 0 --out "$out/whole"
holdfast organism fresh --corpus "$out/whole" --seed 0 --out "$out/fresh"
holdfast train runs/organism-binding.toml --base "$out/fresh" --examples "$out/binding" --out "$out/bound"
holdfast train runs/organism-whole.toml --base "$out/bound" --examples "$out/whole" --out "$out/pocket"
holdfast organism check --model "hf/$out/pocket" --card "$out/pocket/README.md"
