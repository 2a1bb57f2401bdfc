#!/usr/bin/env bash
# `make demo`: installs what it needs, and shows a failover between three uWSGI nodes on this machine.
# With CLOUD=1 it is that of a Floating IP.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'demo: %s\n' "$*" >&2; }

# A signal ends this script after the current step, so no step is left running. The demo itself, which
# replaces this process, ends at once.
trap 'exit 129' HUP
trap 'exit 143' TERM

tests/setup.sh
tests/build-plugin.sh
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
[ -x "${CARGO_TARGET_DIR:-target}/debug/demo" ] || say "building the demo (half a minute, once)"
cargo build --quiet --locked -p testbed --bin demo
arguments=("$PWD/target/uwsgi/2.0.31/uwsgi" "$PWD/target/plugin")
PATH=$PATH:/usr/sbin:/sbin # where Debian has `ip`
if [ "$(id -u)" != 0 ]; then
    say "on loopback; as root, each server is a network namespace, and a client shows who answers"
elif reason=$("${CARGO_TARGET_DIR:-target}/debug/demo" try 2>&1); then
    say "in network namespaces, as this is root"
    arguments+=(network)
else
    say "on loopback, because there are no network namespaces here: $reason"
fi
[ -z "${CLOUD:-}" ] || arguments+=(cloud)
exec cargo run --quiet --locked -p testbed --bin demo -- "${arguments[@]}"
