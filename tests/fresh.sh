#!/usr/bin/env bash
# `make fresh`: runs the five commands of docs/deployment.md in a new Debian 13, and then the test of the package
# (tests/deb.sh), with the unit started by a systemd of its own.
#
# It uses the last commit. The root directory (tests/root.sh) is made from scratch each time.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"
# shellcheck source=tests/root.sh
. tests/root.sh
program=fresh
source=/opt/uwsgi-hetzner
patience=60 # seconds

find_cargo
if [ -z "${IN_NAMESPACES:-}" ]; then
    warn_if_dirty
    cargo fetch --quiet --locked
fi
enter_namespaces "$@"

rm -rf target/roots/fresh
make_root fresh trixie true systemd systemd-sysv dbus
git clone --quiet --no-hardlinks "$root" "$tree$source"
echo 'APT::Get::Assume-Yes "true";' >"$tree/etc/apt/apt.conf.d/assume-yes"

boot
say "$(in_booted systemctl --version | head -n 1) runs as process 1"

journal() { in_booted journalctl --quiet --output=cat --unit=uwsgi-failover; }

# The block after the comment.
mapfile -t commands < <(sed -n '/^<!-- run by tests\/fresh.sh -->$/,/^```$/p' docs/deployment.md | sed '/^<!--/d; /^```/d')
[ ${#commands[@]} = 5 ] || die "docs/deployment.md has ${#commands[@]} commands instead of five"
for command in "${commands[@]}"; do
    say "# $command"
    begun=$SECONDS
    in_booted env --chdir=$source sh -ec "$command" >"$TMPDIR/command.log" 2>&1 ||
        { cat "$TMPDIR/command.log" >&2; journal >&2; die "it failed: $command"; }
    say "($((SECONDS - begun)) s)"
done

# journal_has PATTERN: waits until a line of the unit's journal matches
journal_has() {
    local deadline=$((SECONDS + patience))
    until journal | grep -qE "$1"; do
        [ $SECONDS -lt $deadline ] || { journal >&2; die "no line of the journal matches '$1' after $patience s"; }
        sleep 0.2
    done
}
journal_has '^\[hetzner-failoverip\] 4\.4\.4\.4 is routed to 1\.1\.1\.1 '
journal_has 'i am now the Lord'
journal | grep -E '^\[hetzner|now the Lord' >&2
! journal | grep -E '^\[hetzner.*ERROR' >&2 || die 'the plugin logged errors'
property() { in_booted systemctl show --property="$1" --value uwsgi-failover; }
[ "$(property UnitFileState) $(property NRestarts)" = 'disabled 0' ] || die 'the unit is enabled, or was restarted'
user=$(in_booted stat --format=%u "/proc/$(property MainPID)")
# systemd's range for dynamic users
[ "$user" -ge 61184 ] && [ "$user" -le 65519 ] || die "the service runs as user $user"
say "the unit runs as the dynamic user $user, and says: $(property StatusText)"

say 'testing the package'
in_booted systemctl stop uwsgi-failover
in_booted apt-get -qq purge uwsgi-plugin-hetzner >/dev/null
in_booted rm -f /etc/uwsgi-failover/ca.pem
in_booted rmdir /etc/uwsgi-failover
in_booted env --chdir=$source make deb-test
say passed
