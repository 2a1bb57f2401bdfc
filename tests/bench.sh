#!/usr/bin/env bash
# `make bench`: compares the released plugin (packaging/build.sh) with curl, and writes BENCHMARKS.md.
#
#   tests/bench.sh [--calls LOOPBACK,20MS,100MS] [--starts N] [--legions N]
#
# BENCH_OUTPUT is the directory for that file, if not this one. The benchmark needs root, or user
# namespaces and /dev/net/tun. It runs in its own network namespaces, which end with it, and contacts
# nothing outside them.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"

calls=300,200,200 starts=200 legions=10 options=$*
while [ $# -gt 1 ]; do
    case $1 in
        --calls) calls=$2 ;;
        --starts) starts=$2 ;;
        --legions) legions=$2 ;;
        *) break ;;
    esac
    shift 2
done
n='[1-9][0-9]*'
[[ $# = 0 && "$calls/$starts/$legions" =~ ^$n,$n,$n/$n/$n$ ]] ||
    die "usage: tests/bench.sh [--calls LOOPBACK,20MS,100MS] [--starts N] [--legions N]"

PATH=$PATH:/usr/sbin:/sbin # where Debian has `ip`
needs curl curl
needs ip iproute2
[ -r /etc/ssl/certs/ca-certificates.crt ] || die "no certificates were found: apt-get install ca-certificates"
tests/setup.sh
find_cargo
packaging/build.sh
host=$(host)
say "building the benchmark (up to a minute)"
cargo build --quiet --release --locked -p testbed --bin bench --target "$host" --target-dir target

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

# The caller's settings must not affect the figures; curl reads .curlrc from the first directory that has one.
unset SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE
unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
: >"$scratch/.curlrc"
export CURL_HOME=$scratch

mkdir "$scratch/plugins"
cp "$plugin" "$scratch/plugins"
cc -O2 -shared -fPIC -Iinclude -o "$scratch/plugins/bench_plugin.so" tests/testbed/src/bin/bench/driver.c

uwsgi=target/uwsgi/2.0.31/uwsgi
processor=$(sed -n '/^model name/{s/.*: //p;q}' /proc/cpuinfo)
mkdir -p "${BENCH_OUTPUT:=$PWD}"
cat >"$scratch/report" <<EOF
# Benchmarks

Written by \`make bench${options:+ BENCH=\"$options\"}\` on $(date -u +%F), of commit \`$(git describe --always --dirty 2>/dev/null || echo unknown)\`.
All figures are from one run. "curl" is the alternative without the plugin, in the same uWSGI:
\`legion-lord = failover cmd:curl -sSf -u ... -d active_server_ip=... URL\`.

${processor:-$(uname -m)}, $(nproc) cores, Linux $(uname -r), $(. /etc/os-release; echo "$PRETTY_NAME"); \
uWSGI $("$uwsgi" --version), curl $(curl --version | sed -n '1s/curl \([^ ]*\).*/\1/p'), uwsgi-hetzner $(version).

EOF
# The benchmark ends with this script, even if the script is killed.
run=(setpriv --pdeathsig KILL)
[ "$(id -u)" = 0 ] || run=(unshare --user --map-root-user "${run[@]}")
# shellcheck disable=SC2086 # three numbers
TMPDIR=$scratch "${run[@]}" "target/$host/release/bench" "$uwsgi" "$scratch/plugins" \
    ${calls//,/ } "$starts" "$legions" >>"$scratch/report" &
pid=$!
wait "$pid"
pid=
mv "$scratch/report" "$BENCH_OUTPUT/BENCHMARKS.md"
sed -n '/^| aim/,/^$/p' "$BENCH_OUTPUT/BENCHMARKS.md"
