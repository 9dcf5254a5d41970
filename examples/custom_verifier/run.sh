#!/usr/bin/env bash
# A verifier of one's own (json_facts.py): checked, tried on cheats, and used by the command line.
#
#   examples/custom_verifier/run.sh       # seconds
#
# docs/howto/new-verifier.md explains each step.
set -euo pipefail
cd "$(dirname "$0")"

echo "== It passes the checks of every verifier, and its cheats are not paid"
python json_facts.py

echo "== It judges: all facts, a wrong age, a key too many, no JSON"
halo-forge verify run answers.jsonl --verifier json_facts:JsonFacts --progress none || (($? == 1))
