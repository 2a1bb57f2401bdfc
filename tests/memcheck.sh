#!/usr/bin/env bash
# `make memcheck`: runs the tests with each uWSGI under valgrind's memcheck. All tests must pass, and memcheck
# must report nothing. The plugin is built with symbols, but is otherwise the same.
#
#   tests/memcheck.sh [ARGUMENT...]      arguments for the tests, for example a part of their names
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
# Under valgrind each test takes about ten times as long, so more of them run at once.
threads=$(($(nproc) * 3))
cargo test --locked --test uwsgi -- --test-threads "$threads" "$@"
