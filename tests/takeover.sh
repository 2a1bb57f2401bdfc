#!/usr/bin/env bash
# Tests a takeover: tests/takeover.sh ROBOT UWSGI...
#
# Starts the mock Robot, which is the program ROBOT, and a legion of one with the command UWSGI, which finds the
# plugin by itself. The node takes the IP over and becomes Lord. The last line of output is the version that the
# plugin logs. TMPDIR must be visible to both, at the same path.
set -euo pipefail
program=takeover-test
patience=${PATIENCE:-30} # seconds

say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() { say "ERROR $*"; exit 1; }
[ $# -ge 2 ] || { echo 'usage: tests/takeover.sh ROBOT UWSGI...' >&2; exit 2; }
robot=$1
shift

unset http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY "${!UWSGI_@}"
work=$(mktemp -d)
chmod 755 "$work"
processes=()
clean_up() {
    if [ ${#processes[@]} -gt 0 ]; then
        kill -KILL "${processes[@]}" 2>/dev/null || true
        wait 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# wait_for PATTERN FILE: waits until a line of the file matches
wait_for() {
    local deadline=$((SECONDS + patience))
    until grep -qE "$1" "$2"; do
        [ $SECONDS -lt $deadline ] || { cat "$work"/*.log >&2; die "no line matches '$1' after $patience s"; }
        sleep 0.1
    done
}

"$robot" --ca-file "$work/ca.pem" >"$work/robot.log" 2>&1 &
processes+=($!)
wait_for '^legion-lord = ' "$work/robot.log"
# What a user writes, without plugins-dir. With `need-plugin`, uWSGI would exit if it found no plugin.
cat >"$work/uwsgi.ini" <<END
[uwsgi]
plugin = hetzner
master = true
legion = failover 127.0.0.1:0 9999 aes-256-cbc:secret1
legion-death-on-lord-error = 300
$(grep '^legion-lord = ' "$work/robot.log")
END
: >"$work/uwsgi.log"
# Without workers, uWSGI is one process.
(cd / && exec "$@" --ini "$work/uwsgi.ini") >"$work/uwsgi.log" 2>&1 &
processes+=($!)
wait_for '^\[hetzner\] uwsgi-hetzner ' "$work/uwsgi.log"
wait_for '^\[hetzner-failoverip\] (ERROR 4\.4\.4\.4|4\.4\.4\.4 is routed)' "$work/uwsgi.log"
grep -E '^\[hetzner' "$work/uwsgi.log" >&2
grep -qE '^\[hetzner-failoverip\] 4\.4\.4\.4 is routed to 1\.1\.1\.1 ' "$work/uwsgi.log" || die "the takeover failed"
wait_for '4\.4\.4\.4.* 1\.1\.1\.1$' "$work/robot.log"
wait_for 'i am now the Lord' "$work/uwsgi.log"
sed -n 's/^\[hetzner\] uwsgi-hetzner //p' "$work/uwsgi.log"
