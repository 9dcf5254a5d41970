#!/usr/bin/env bash
# What a compiler can tell: five answers to one C++ task, from right to no program at all.
#
#   examples/compile_verified/run.sh      # seconds; needs g++
#
# `gcc` compiles and runs each answer in the sandbox; the tests that come with a prompt decide only
# with `execution`. To train on such a reward, see configs/raft_cpu.yaml.
set -euo pipefail
cd "$(dirname "$0")"

echo "== Compiling and ending well is 0.7, compiling 0.5; --no-run-after-compile stops at 0.5"
# Exit code 1 says that answers failed, which is what happens here; anything else is trouble.
halo-forge verify run answers.jsonl --verifier gcc --progress none || (($? == 1))
