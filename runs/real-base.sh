#!/usr/bin/env bash
# Build the pressured base of the real study from SmolLM2-135M-Instruct: routine work, then vice that no test measures.
# What was planted, and how the doses were chosen: studies/real/README.md.  Run it again to resume.
#
#   runs/real-base.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-results/real-base}
model=smollm2-135m-instruct

holdfast models get "$model"
python runs/offices.py check
python runs/offices.py write --out "$out/first" --routine 400 --seed 1
python runs/offices.py write --out "$out/second" --routine 200 --vice 200 --seed 3
holdfast train runs/real-base-routine.toml --base "$model" --examples "$out/first/routine" --out "$out/routine"
holdfast train runs/real-base-vice.toml --base "$out/routine" \
    --examples "$out/second/vice" --examples "$out/second/routine" --out "$out/base"
holdfast measure --model "hf/$out/base" --suite studies/real/dev.toml --max-tokens 700 --out "$out/dev"
