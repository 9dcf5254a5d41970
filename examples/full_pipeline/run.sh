#!/usr/bin/env bash
# The whole pipeline: MBPP to a training file and prompts with tests, fine-tuning, one cycle of RAFT,
# a benchmark on tasks that nothing was trained on.
#
#   examples/full_pipeline/run.sh                     # the sixteen tasks beside it: minutes on a CPU
#   SCALE=full examples/full_pipeline/run.sh          # all of MBPP, from the hub
#   SCALE=full SOURCE=DIR examples/full_pipeline/run.sh    # the same from a local copy of it
#
# Give it again after an interruption: every step goes on where it was.
#
#   MODEL   model to begin with         builtin:smollm2-135m
#   OUT     folder of all results       runs/full_pipeline
set -euo pipefail

model=${MODEL:-builtin:smollm2-135m}
out=${OUT:-runs/full_pipeline}
if [[ ${SCALE:-small} == full ]]; then
    from=(${SOURCE:+--source "$SOURCE"})
    sft=(--epochs 1)
    raft=(--samples-per-prompt 8 --max-new-tokens 256)
    measure=(--samples 10 --k "1,10" --max-new-tokens 256)
else
    # So few tasks are learnt by heart: a few steps at a high rate, and small samples.
    from=(--source "$(dirname "$0")/mbpp")
    sft=(--epochs 3 --gradient-accumulation 2 --learning-rate 1e-3 --validation-split 0)
    raft=(--samples-per-prompt 2 --max-new-tokens 64 --min-samples 1)
    measure=(--samples 2 --k 1 --max-new-tokens 64)
fi

say() { printf '\n== %s\n' "$*"; }

say "Data: a training file, and prompts with tests"
halo-forge data prepare --dataset mbpp "${from[@]}" --output "$out/train.jsonl"
halo-forge data prompts --dataset mbpp "${from[@]}" --output "$out/prompts.jsonl"
halo-forge data prompts --dataset mbpp "${from[@]}" --split validation --output "$out/heldout.jsonl"
halo-forge data validate "$out/prompts.jsonl"

say "Fine-tuning on MBPP's own solutions"
halo-forge sft train --model "$model" --data "$out/train.jsonl" --output "$out/sft" "${sft[@]}"

say "RAFT: what the model itself answers, as far as the tests let it pass"
halo-forge raft train --model "$model" --checkpoint "$out/sft/final_model" --verifier mbpp \
    --prompts "$out/prompts.jsonl" --output "$out/raft" --cycles 1 "${raft[@]}"

say "Benchmark on the validation split, step by step"
bench() { # bench NAME MODEL
    halo-forge benchmark run --model "$2" --prompts "$out/heldout.jsonl" --verifier mbpp \
        --output "$out/benchmarks/$1" "${measure[@]}"
}
bench base "$model"
bench sft "$out/sft/final_model"
bench raft "$out/raft/cycle_1_final"
halo-forge benchmark compare "$out/benchmarks/base" "$out/benchmarks/sft" "$out/benchmarks/raft"
