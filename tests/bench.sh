#!/usr/bin/env bash
# `make bench`: prepares what it needs, measures, and writes BENCHMARKS.md.
#
# What is measured is the plugin as it ships (packaging/build.sh).
#
#   tests/bench.sh [--calls LOOPBACK,20MS,100MS] [--starts N] [--legions N]
#
# BENCH_OUTPUT names another directory for it. Nothing but loopback and network
# namespaces of its own is contacted; those have no names and end with the process, however it ends.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"

# Where `ip` and `tc` are; Debian has it in root's PATH alone.
PATH=$PATH:/usr/sbin:/sbin

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian's curl, which is what is compared with, and iproute2, for the links.
install_tools() {
    local missing=()
    have curl || missing+=(curl)
    if ! have ip || ! have tc; then missing+=(iproute2); fi
    [ ${#missing[@]} -gt 0 ] || return 0
    have apt-get || die "missing, install what your system calls these Debian packages: ${missing[*]}"
    [ "$(id -u)" = 0 ] || have sudo || die "packages are missing; as root, run: apt-get install ${missing[*]}"
    say "installing with apt-get: ${missing[*]}"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
        { as_root "${apt[@]}" update && as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >/dev/null ||
        die "apt-get could not install: ${missing[*]}"
}

tests/setup.sh
install_tools
find_cargo
packaging/build.sh
host=$(host)
bench=target/$host/release/bench
[ -x "$bench" ] || say "building the benchmark (a minute, once)"
cargo build --quiet --release --locked -p testbed --bin bench --target "$host" --target-dir target

# Whoever is not root may be it within namespaces of their own.
within=()
if [ "$(id -u)" != 0 ] && unshare --user --map-root-user true 2>/dev/null; then
    # Without --fork, so that it becomes what it runs, and what ends it ends that.
    within=(unshare --user --map-root-user)
fi

# All that is written on the way lies here, and goes whatever way this ends.
scratch=$(mktemp -d)
pid=
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# What is measured must not depend on whose shell this is, nor leave this machine.
unset SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE
unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
# curl would look for a .curlrc in HOME, too, were there none here.
: >"$scratch/.curlrc"
export CURL_HOME=$scratch

mkdir -p "${BENCH_OUTPUT:=$PWD}"
TMPDIR=$scratch "${within[@]}" "$bench" target/uwsgi/2.0.31/uwsgi "$(dirname "$plugin")" "$BENCH_OUTPUT" "$@" &
pid=$!
status=0
wait "$pid" || status=$?
pid=
exit "$status"
