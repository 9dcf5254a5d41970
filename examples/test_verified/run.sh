#!/usr/bin/env bash
# What tests can tell: five answers to one Python task. The first is right, the second passes the
# tests that reward and not the hidden ones, the third fails, the last two cheat.
#
#   examples/test_verified/run.sh         # seconds
set -euo pipefail
cd "$(dirname "$0")"

judge() { halo-forge verify run answers.jsonl --verifier mbpp --progress none "$@" || (($? == 1)); }

echo "== By the tests that reward"
judge

echo "== With the hidden tests scored beside them; they never reward"
judge --set verifier.options='{score_hidden: true}' --json

echo "== Are the tests any good? Small changes of the reference solution that they do not notice"
halo-forge verify audit --verifier mbpp --dataset prompts.jsonl --progress none || (($? == 1))
