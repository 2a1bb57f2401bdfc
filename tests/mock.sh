#!/usr/bin/env bash
# `make mock`: starts the mock Robot in the background, and fills in the package's settings for a legion of one that
# uses it. Settings that are filled in already are left alone.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"

settings=/etc/uwsgi-failover
log=target/mock.log
patience=30 # seconds

[ "$(id -u)" = 0 ] || die "this fills in $settings, so it needs root"
[ -f $settings/uwsgi.ini ] || die "$settings/uwsgi.ini does not exist: install the package first"
cmp -s packaging/uwsgi.ini $settings/uwsgi.ini && [ ! -s $settings/password ] ||
    die "$settings is filled in already, and this would replace it"

find_cargo
host=$(host)
say 'building the mock Robot (a minute, once)'
cargo build --quiet --locked -p testbed --bin robot --target "$host" --target-dir target
setsid "target/$host/debug/robot" --ca-file $settings/ca.pem </dev/null >$log 2>&1 &
robot=$!
deadline=$((SECONDS + patience))
until grep -q '^legion-lord = ' $log; do
    kill -0 $robot 2>/dev/null && [ $SECONDS -lt $deadline ] || { cat $log >&2; die 'the mock Robot did not start'; }
    sleep 0.1
done

# Written into the files that the package has installed, which keep their modes.
printf 'BAR\n' >$settings/password
sed -e 's/THIS_IP:2000/127.0.0.1:2000/; s/active_ip=THIS_IP/active_ip=1.1.1.1/; s/FAILOVER_IP/4.4.4.4/; s/USERNAME/FOO/' \
    -e "s/SECRET/$(od -An -N16 -tx1 /dev/urandom | tr -d ' ')/; /^legion-node = /d; /^legion-quorum = /d" \
    -e "/^legion-lord = /s|\$|,url=$(sed -n 's/^url *//p' $log)/failover/4.4.4.4,ca_file=$settings/ca.pem|" \
    packaging/uwsgi.ini >$settings/uwsgi.ini
say "the mock Robot is process $robot, and logs to $log; $settings is filled in for it"
