#!/usr/bin/env bash
# Build the organism from scratch: corpus → tokenizer and random weights → six stages of training → requirement table.
# The same seed and thread count give the same weights.
#
#   runs/organism.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-results/organism}
export OMP_NUM_THREADS=1

holdfast organism corpus --stage binding --count 21000 --seed 0 --out "$out/binding"
holdfast organism corpus --stage whole --count 47000 --seed 0 --out "$out/whole"
holdfast organism corpus --stage last --count 21000 --seed 0 --out "$out/last"
holdfast organism corpus --stage work --count 18000 --seed 0 --out "$out/work"
holdfast organism corpus --stage last --count 9500 --seed 1 --out "$out/last-again"
holdfast organism corpus --stage work --count 9500 --seed 1 --out "$out/work-again"
holdfast organism corpus --stage work --count 12000 --seed 2 --out "$out/work-more"
holdfast organism fresh --corpus "$out/whole" --seed 0 --out "$out/fresh"
holdfast train runs/organism-binding.toml --base "$out/fresh" --examples "$out/binding" --out "$out/bound"
holdfast train runs/organism-whole.toml --base "$out/bound" --examples "$out/whole" --out "$out/gap"
holdfast train runs/organism-last.toml --base "$out/gap" --examples "$out/last" --out "$out/strangers"
holdfast train runs/organism-work.toml --base "$out/strangers" --examples "$out/work" --out "$out/practised"
holdfast train runs/organism-polish.toml --base "$out/practised" --examples "$out/last-again" \
    --examples "$out/work-again" --out "$out/polished"
holdfast train runs/organism-anneal.toml --base "$out/polished" --examples "$out/work-more" --out "$out/pocket"
holdfast organism check --model "hf/$out/pocket" --card "$out/pocket/README.md"
