#!/usr/bin/env bash
# `make memcheck`: the tests in a real uWSGI, each uWSGI under valgrind's memcheck. No test may fail, and
# memcheck may find nothing. The plugin is built with symbols for it; what it does is the same.
#
#   tests/memcheck.sh [what `cargo test` takes]      for example a part of the names of the tests to run
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'memcheck: %s\n' "$*" >&2; }

tests/setup.sh test
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"

say "building the plugin with symbols (half a minute, once)"
build=target/memcheck/build
CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo build --quiet --release --locked --lib --target-dir "$build"

reports=target/memcheck/reports
rm -rf "$reports"
mkdir -p "$reports"
export MEMCHECK_REPORTS=$PWD/$reports
export HETZNER_PLUGIN=$PWD/$build/release/libhetzner_plugin.so
export UWSGI_BINARIES=2.0.31=$PWD/target/uwsgi/2.0.31/uwsgi
# Each takes some ten times as long as without, and is not to be late for that.
threads=$(($(nproc) * 3))
cargo test --locked --test uwsgi -- --test-threads "$threads" "$@"
