#!/usr/bin/env bash
# `make nemesis`: random faults on a legion of real uWSGI nodes.
#
#   tests/nemesis.sh ROUNDS NODES SEED [JOBS]
#
# The same seed makes the same steps again. Rounds run side by side, JOBS of them at a time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'nemesis: %s\n' "$*" >&2; }

[ $# = 3 ] || [ $# = 4 ] || { say "usage: tests/nemesis.sh ROUNDS NODES SEED [JOBS]"; exit 2; }
rounds=$1 nodes=$2 seed=$3 jobs=${4:-8}

tests/setup.sh
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
say "building it (half a minute, the first time)"
tests/build-beside.sh cargo build --quiet --locked -p testbed --bin nemesis
say "$rounds rounds of $nodes nodes, $jobs side by side, from seed $seed on: about two minutes for each $jobs"
exec "${CARGO_TARGET_DIR:-target}/debug/nemesis" \
    target/uwsgi/2.0.31/uwsgi target/plugin "$rounds" "$nodes" "$seed" "$jobs"
