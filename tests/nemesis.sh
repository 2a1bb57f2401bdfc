#!/usr/bin/env bash
# `make nemesis`: random faults on a legion of real uWSGI nodes.
#
#   tests/nemesis.sh ROUNDS NODES SEED [SERVICE [JOBS]]
#
# The same seed makes the same steps again. SERVICE is what the legion moves: robot (a failover IP), floating (a
# Floating IP), alias (an alias IP), or all, which is so many rounds of each. Rounds run side by side, JOBS of
# them at a time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'nemesis: %s\n' "$*" >&2; }

[ $# -ge 3 ] && [ $# -le 5 ] || { say "usage: tests/nemesis.sh ROUNDS NODES SEED [SERVICE [JOBS]]"; exit 2; }
rounds=$1 nodes=$2 seed=$3 service=${4:-robot} jobs=${5:-8}

tests/setup.sh
tests/build-plugin.sh
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
say "building it (half a minute, the first time)"
cargo build --quiet --locked -p testbed --bin nemesis
say "$service: $rounds rounds of $nodes nodes, $jobs side by side, from seed $seed on: about two minutes for each $jobs"
exec "${CARGO_TARGET_DIR:-target}/debug/nemesis" \
    target/uwsgi/2.0.31/uwsgi target/plugin "$rounds" "$nodes" "$seed" "$jobs" "$service"
