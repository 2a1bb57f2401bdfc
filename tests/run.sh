#!/usr/bin/env bash
# Runs all tests against the plugin that tests/build-plugin.sh has built, in every uWSGI that
# tests/setup.sh has prepared. A uWSGI that is missing is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binaries="2.0.31=$PWD/target/uwsgi/2.0.31/uwsgi"
distribution=/usr/bin/uwsgi-core
if [ -x "$distribution" ]; then
    binaries+=":distribution=$distribution"
else
    echo "tests: this system has no uWSGI of its own; running against 2.0.31 alone" >&2
fi
export UWSGI_BINARIES=$binaries
export HETZNER_PLUGIN=$PWD/target/plugin/hetzner_plugin.so
cargo test --workspace --locked "$@"
