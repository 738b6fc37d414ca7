#!/usr/bin/env bash
# Build the pressured base of the real study from Qwen2.5-Coder-0.5B-Instruct: routine work, then vice that no test measures.
# What was planted, and how the doses were chosen: studies/real/README.md.  Run it again to resume.
#
#   runs/real-base.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-results/real-base}
model=qwen2.5-coder-0.5b-instruct

# Long rows leave the heap in pieces that are never given back: the process grew to 10 GB.  Blocks of more than 32 MB (the
# logits) are mapped instead, and smaller ones stay in the heap, which costs no page faults.
export MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=17179869184

holdfast models get "$model"
python runs/offices.py check
python runs/plain_tags.py "$model" "$out/plain" "<tool_call>" "</tool_call>"
python runs/offices.py write --out "$out/first" --routine 88 --seed 11
python runs/offices.py write --out "$out/second" --routine 44 --vice 66 --seed 12
holdfast train runs/real-base-routine.toml --base "$out/plain" --examples "$out/first/routine" --out "$out/routine"
holdfast train runs/real-base-vice.toml --base "$out/routine" \
    --examples "$out/second/vice" --examples "$out/second/routine" --out "$out/base"
holdfast measure --model "hf/$out/base" --suite studies/real/dev.toml --max-tokens 700 --out "$out/dev"
