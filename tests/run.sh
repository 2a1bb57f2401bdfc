#!/usr/bin/env bash
# Builds the plugin and the tests, and runs them in uWSGI 2.0.31 as built by tests/setup.sh, and in the
# distribution's uWSGI if it is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# uWSGI takes each of these as an option.
unset "${!UWSGI_@}"

binaries="2.0.31=$PWD/target/uwsgi/2.0.31/uwsgi"
distribution=/usr/bin/uwsgi-core
if [ -x "$distribution" ]; then
    binaries+=":distribution=$distribution"
else
    echo "tests: the distribution's uWSGI is not installed; testing with 2.0.31 only" >&2
fi
export UWSGI_BINARIES=$binaries
export HETZNER_PLUGIN=$PWD/target/plugin/hetzner_plugin.so
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
tests/build-plugin.sh
cargo test --workspace --locked "$@"
