#!/usr/bin/env bash
# Tests the systemd unit and the ini that the package installs.
#
#   tests/instance.sh [--systemd] UWSGI PLUGINS UNIT INI
#
# Verifies the unit. Then runs the ini with UWSGI, which loads the plugin from the directory PLUGINS, or from
# its default directory if that is empty: as it is, without a password, and on three nodes, filled in with
# loopback addresses and the mock Robot. The first node becomes Lord; stopping it moves the IP.
#
# The nodes are started with the unit's own command. With --systemd the first one is the installed unit,
# started by the running systemd, as root.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"
program=instance-test

by_systemd=
if [ "${1:-}" = --systemd ]; then by_systemd=yes; shift; fi
[ $# = 4 ] || { echo 'usage: tests/instance.sh [--systemd] UWSGI PLUGINS UNIT INI' >&2; exit 2; }
uwsgi=$1 plugins=$2 unit=$3 ini=$4
name=uwsgi-failover
patience=30 # seconds

unset http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY NOTIFY_SOCKET "${!UWSGI_@}"
# Unique addresses, because the port is always 2000.
net=127.$((RANDOM % 200 + 20)).$((RANDOM % 256))
failover_ip=$net.100

work=$(mktemp -d)
processes=()
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
clean_up() {
    if [ -n "$by_systemd" ]; then
        as_root systemctl stop $name || true
        as_root rm -f /etc/$name/ca.pem
    fi
    if [ ${#processes[@]} -gt 0 ]; then
        kill -KILL "${processes[@]}" 2>/dev/null || true
        wait 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

fail() { cat "$work"/*.log >&2; die "$@"; }

# wait_for PATTERN FILE: waits until a line of the file matches
wait_for() {
    local deadline=$((SECONDS + patience))
    until grep -qE "$1" "$2"; do
        [ $SECONDS -lt $deadline ] || fail "no line of $(basename "$2") matches '$1' after $patience s"
        sleep 0.1
    done
}

# --- The unit ---------------------------------------------------------------------------------

exec_start=$(sed -n 's/^ExecStart=//p' "$unit")
kill_signal=$(sed -n 's/^KillSignal=//p' "$unit")
arguments=${exec_start#* }
[ "${exec_start%% *}" = /usr/bin/uwsgi-core ] || die "the unit runs ${exec_start%% *} instead of Debian's uwsgi-core"

if have systemd-analyze; then
    # With UWSGI, because uwsgi-core may not be installed here.
    sed "s|^ExecStart=/usr/bin/uwsgi-core |ExecStart=$uwsgi |" "$unit" >"$work/$name.service"
    systemd-analyze verify "$work/$name.service" >"$work/verify.log" 2>&1 || fail 'systemd-analyze verify failed'
    ! grep -F "$name.service" "$work/verify.log" >&2 || die 'systemd-analyze verify reports the lines above'
    say "the unit is valid for $(systemctl --version | head -n 1)"
    exposure=$(systemd-analyze security --offline=true "$work/$name.service" 2>/dev/null | sed -n 's/.*Overall exposure level .*: //p' | LC_ALL=C tr -cd ' -~') || true
    say "exposure level by systemd-analyze security: ${exposure:-UNKNOWN, because it needs systemd 250 or later}"
else
    say "NOT RUN: systemd-analyze verify (systemd-analyze was not found; Debian has it in the package systemd)"
fi

# --- The unedited ini -------------------------------------------------------------------------

# command_of DIRECTORY: sets `command` to the unit's command, with the credentials in that directory
command_of() {
    command=("$uwsgi")
    if [ -n "$plugins" ]; then command+=(--plugins-dir "$plugins"); fi
    local argument
    for argument in $arguments; do command+=("${argument//'${CREDENTIALS_DIRECTORY}'/$1}"); done
}

# new_credentials NAME: creates a directory with the ini and an empty password file
new_credentials() { install -d -m 700 "$work/$1" && install -m 600 /dev/null "$work/$1/password" && install -m 600 "$ini" "$work/$1/uwsgi.ini"; }

# refuses WHEN DIRECTORY: checks that uWSGI exits with status 1, and that all its ERROR lines are the plugin's
# and none is repeated; leaves them in $work/errors
refuses() {
    local status=0
    command_of "$2"
    (cd / && CREDENTIALS_DIRECTORY=$2 timeout -s INT -k 5 $patience "${command[@]}") >"$work/refusal.log" 2>&1 || status=$?
    [ $status = 1 ] || fail "$1: uWSGI exited with status $status instead of 1"
    grep -F 'ERROR' "$work/refusal.log" >"$work/errors" || fail "$1: uWSGI logged no ERROR"
    sed "s/^/    /" "$work/errors" >&2
    [ -z "$(sort "$work/errors" | uniq -d)" ] || die "$1: a line is repeated"
    ! grep -qvE '^\[hetzner\] ERROR legion "failover", [a-z-]+: ' "$work/errors" || fail "$1: a line is not from the plugin"
}

# reports WHEN PATTERN: checks that exactly one ERROR line matches
reports() { [ "$(grep -cE -- "$2" "$work/errors")" = 1 ] || fail "$1: not exactly one line matches '$2'"; }

# unit_checks DIRECTORY: runs the unit's check with these credentials
unit_checks() { CREDENTIALS_DIRECTORY=$1 sh -c "$check"; }

new_credentials unedited
check=$(sed -n "s/^ExecStartPre=\/bin\/sh -c '\(.*\)'\$/\1/p" "$unit")
[ -n "$check" ] || die 'the unit does not check whether the ini is filled in'
say 'unedited, the ini makes the unit say:'
! unit_checks "$work/unedited" >"$work/check.log" || die 'the unit would start with the unedited ini'
sed 's/^/    /' "$work/check.log" >&2
[ "$(grep -c 'uwsgi\.ini is not filled in' "$work/check.log")/$(wc -l <"$work/check.log")" = 1/1 ] || die 'that is not one line about the ini'
say 'unedited, the ini makes uWSGI exit with:'
refuses 'unedited' "$work/unedited"
reports 'unedited' ' ip: `FAILOVER_IP` '
reports 'unedited' ' active_ip: `THIS_IP` '
reports 'unedited' '/password is empty'
! grep -vE 'FAILOVER_IP|THIS_IP|OTHER_IP_[12]|SECRET|USERNAME|/password is empty' "$work/errors" >&2 || die 'unedited: a line is about something else'

# --- The ini without a password ---------------------------------------------------------------

find_cargo
host=$(host)
cargo build --quiet --locked -p testbed --bin robot --target "$host" --target-dir target
"target/$host/debug/robot" --ip "$failover_ip=$net.2" --server "$net.1" --server "$net.2" --server "$net.3" --ca-file "$work/ca.pem" \
    >"$work/robot.log" 2>&1 &
processes+=($!)
wait_for '^legion-lord = ' "$work/robot.log"
url=$(sed -n 's/^url *//p' "$work/robot.log")
ca_file=$work/ca.pem

# fill NUMBER OTHER OTHER: prints the ini of that server
fill() {
    sed -e "s/FAILOVER_IP/$failover_ip/g; s/THIS_IP/$net.$1/g; s/OTHER_IP_1/$net.$2/g; s/OTHER_IP_2/$net.$3/g" \
        -e "s/SECRET/0123456789abcdef0123456789abcdef/; s/USERNAME/FOO/; /^legion = /s/ 9999 / $((10000 - $1)) /" \
        -e "/^legion-lord = /s|\$|,url=$url/failover/$failover_ip,ca_file=$ca_file|" "$ini"
}

new_credentials 1
fill 1 2 3 >"$work/1/uwsgi.ini"
unit_checks "$work/1" || die 'the unit would not start with an ini that is filled in'
say 'without a password, it makes uWSGI exit with:'
refuses 'without a password' "$work/1"
reports 'without a password' " password_file: the first line of $work/1/password is empty"
[ "$(wc -l <"$work/errors")" = 1 ] || die 'without a password: a line is about something else'

# --- Three nodes ------------------------------------------------------------------------------

# start NUMBER: starts a node by hand
start() {
    printf 'BAR\n' >"$work/$1/password"
    command_of "$work/$1"
    # Listens for READY=1, as systemd does.
    python3 -c 'import socket, sys
notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notifications.bind(sys.argv[1])
while True: print(notifications.recv(4096).decode(), flush=True)' "$work/$1/notify" >"$work/notify$1.log" 2>&1 &
    processes+=($!)
    local deadline=$((SECONDS + patience))
    until [ -S "$work/$1/notify" ]; do [ $SECONDS -lt $deadline ] || fail 'the notification socket was not created'; sleep 0.1; done
    : >"$work/node$1.log"
    (cd / && NOTIFY_SOCKET=$work/$1/notify CREDENTIALS_DIRECTORY=$work/$1 exec "${command[@]}") >"$work/node$1.log" 2>&1 &
    node=$!
    processes+=("$node")
    wait_for '^READY=1$' "$work/notify$1.log"
}

# refuses_unit: checks that systemd does not start the unit with the unedited ini, and logs one line of its check
refuses_unit() {
    local said journal=(as_root journalctl --quiet --since="@$(date +%s)" --output=cat --unit=$name)
    ! as_root systemctl start $name 2>/dev/null || die 'systemd starts the unit with the unedited ini'
    as_root systemctl stop $name
    as_root journalctl --sync
    said=$("${journal[@]}" _COMM=sh | sort -u)
    [ "$said" = "$(cat "$work/check.log")" ] || die "with the unedited ini, the unit says: $said"
    ! "${journal[@]}" _COMM=uwsgi-core | grep -F '[hetzner]' >&2 || die 'the unit starts uWSGI with the unedited ini'
}

# start_unit: starts node 1, which is the installed unit
start_unit() {
    ca_file=/etc/$name/ca.pem
    as_root install -m 644 "$work/ca.pem" "$ca_file"
    fill 1 2 3 | as_root tee /etc/$name/uwsgi.ini >/dev/null
    printf 'BAR\n' | as_root tee /etc/$name/password >/dev/null
    ca_file=$work/ca.pem
    : >"$work/node1.log"
    as_root journalctl --quiet --follow --no-tail --since="@$(date +%s)" --output=cat --unit=$name >"$work/node1.log" 2>&1 &
    processes+=($!)
    as_root systemctl start $name || { as_root journalctl --unit=$name --lines=50 >&2; die "the unit did not start"; }
    [ "$(systemctl show --property=NRestarts --value $name)" = 0 ] || fail 'the unit was restarted'
}

if [ -n "$by_systemd" ]; then refuses_unit; start_unit; else start 1; first=$node; fi
new_credentials 2
fill 2 1 3 >"$work/2/uwsgi.ini"
start 2
new_credentials 3
fill 3 1 2 >"$work/3/uwsgi.ini"
start 3

wait_for "^\[hetzner-failoverip\] $failover_ip is routed to $net\.1 " "$work/node1.log"
wait_for 'i am now the Lord' "$work/node1.log"
say "node 1 is Lord; it was started by ${by_systemd:+systemd as }${exec_start}"
! grep -hE '^\[hetzner.*(WARNING|ERROR)' "$work"/node?.log >&2 || die 'the plugin logged warnings or errors about the packaged ini'

if [ -n "$by_systemd" ]; then
    as_root systemctl stop $name
    result=$(systemctl show --property=Result --value $name)
    [ "$result" = success ] || fail "the unit ended with '$result'"
else
    kill -s "${kill_signal#SIG}" "$first"
    deadline=$((SECONDS + patience))
    while kill -0 "$first" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || fail "uWSGI is still running $patience s after $kill_signal"
        sleep 0.1
    done
    wait "$first" || fail "after $kill_signal, uWSGI exited with status $?"
fi
wait_for 'valor: 9999 .* announced its death to Legion failover' "$work/node2.log"
wait_for "^\[hetzner-failoverip\] $failover_ip is routed to $net\.2 " "$work/node2.log"
say "stopped with $kill_signal, it announced its death, and node 2 took over"
say passed
