#!/usr/bin/env bash
# `make lab`: lets servers die in a network of namespaces, and writes docs/outage.md.
#
#   tests/lab.sh [FAILOVERS]
#
# FAILOVERS is how many of each kind are measured. LAB_OUTPUT is the directory for that file, if not
# docs. The lab needs root. All of it runs in namespaces that end with it, and it contacts nothing
# outside them.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"

failovers=${1:-4}
[[ $# -le 1 && $failovers =~ ^[1-9][0-9]?$ ]] || die "usage: tests/lab.sh [FAILOVERS]"
[ "$(id -u)" = 0 ] || die "the lab needs root"
PATH=$PATH:/usr/sbin:/sbin # where Debian has `ip` and `keepalived`
needs ip iproute2
needs curl curl
needs keepalived keepalived
tests/setup.sh
tests/build-plugin.sh
find_cargo
say "building the lab (half a minute, the first time)"
cargo build --quiet --locked -p testbed --bin lab

scratch=$(mktemp -d)
pid=
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    # It ends everything that it has started.
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

uwsgi=target/uwsgi/2.0.31/uwsgi
processor=$(sed -n '/^model name/{s/.*: //p;q}' /proc/cpuinfo)
cat >"$scratch/report" <<EOF
# The outage as a client sees it

Written by \`make lab\` on $(date -u +%F), of commit \`$(git describe --always --dirty 2>/dev/null || echo unknown)\`.
All figures are from one run.

Three servers, a router and a client are network namespaces with addresses of their own. The failover IP
is configured on all servers, and the mock webservice changes the router's route when it has switched. On
each server uWSGI answers requests. The client asks the failover IP every 50 ms, over a new connection
each time. Then the server that has the failover IP loses its power, and the client waits for the next.

"plugin" is this plugin, with the packaged configuration and that \`legion-tolerance\`. "keepalived" is what
one would use instead: Debian's keepalived on the same servers, with unicast VRRP, its default timers, and
a notify script that calls \`curl -sSf\`. "Cloud" is a Floating IP and a mock of the Cloud API, in place of a
failover IP and a mock of the Robot webservice. All networks of a part run at the same time.

${processor:-$(uname -m)}, $(nproc) cores, Linux $(uname -r), $(. /etc/os-release; echo "$PRETTY_NAME"); \
uWSGI $("$uwsgi" --version), keepalived $(keepalived --version 2>&1 | sed -n '1s/.* v\([^ ]*\).*/\1/p'), \
curl $(curl --version | sed -n '1s/curl \([^ ]*\).*/\1/p'), uwsgi-hetzner $(version).

EOF
# The lab ends with this script, even if the script is killed.
setpriv --pdeathsig KILL "${CARGO_TARGET_DIR:-target}/debug/lab" report "$uwsgi" target/plugin "$failovers" >>"$scratch/report" &
pid=$!
wait "$pid"
pid=
mkdir -p "${LAB_OUTPUT:=docs}"
mv "$scratch/report" "$LAB_OUTPUT/outage.md"
say "written to $LAB_OUTPUT/outage.md"
