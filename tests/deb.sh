#!/usr/bin/env bash
# `make deb-test`: tests the Debian package of `make deb` on this system.
#
#   tests/deb.sh [PACKAGE.deb]          default: the one in target/dist
#
# Installs it with apt-get. Takes over an IP of the mock Robot in the distribution's uWSGI, which loads the
# plugin with nothing but `plugin = hetzner`. Runs the packaged unit and ini (tests/instance.sh). Then
# upgrades, removes and purges the package.
#
# This changes the system, as root or through sudo. If apt-get installs uwsgi-core or systemd for it, they
# stay installed.
set -euo pipefail
given=${1:+$(realpath -m -- "$1")}
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"
program=deb-test

package=uwsgi-plugin-hetzner
plugin=/usr/lib/uwsgi/plugins/hetzner_plugin.so
name=uwsgi-failover
unit=/usr/lib/systemd/system/$name.service
settings=/etc/uwsgi-failover
wanted=/etc/systemd/system/multi-user.target.wants/$name.service

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

have apt-get && have dpkg || die "NOT RUN: this needs Debian, Ubuntu or a derivative"
upstream=$(version)
deb=${given:-$root/target/dist/${package}_${upstream/-/.}-1_$(dpkg --print-architecture).deb}
[ -f "$deb" ] || die "$deb does not exist: run make deb first"

[ "$(id -u)" = 0 ] || { have sudo && sudo -n true; } || die "NOT RUN: this test installs a package, so it needs root, or sudo without a password"
! dpkg -s "$package" >/dev/null 2>&1 || die "NOT RUN: $package is already installed, and this test would remove it"
for file in "$plugin" "$unit" "/etc/systemd/system/$name.service" "$settings"; do
    [ ! -e "$file" ] || die "NOT RUN: $file already exists without the package, and this test would replace it"
done
find_cargo
host=$(host)
cargo build --quiet --locked -p testbed --bin robot --target "$host" --target-dir target
robot=$root/target/$host/debug/robot

work=$(mktemp -d)
installed=
clean_up() {
    if [ -n "$installed" ]; then as_root dpkg --purge "$package" >/dev/null || true; fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"; }

say "installing $(basename "$deb")"
# A copy that apt-get's own user can read.
chmod 755 "$work"
cp "$deb" "$work/package.deb"
installed=yes
apt install -y --no-install-recommends "$work/package.deb" >"$work/apt.log" 2>&1 ||
    { apt update && apt install -y --no-install-recommends "$work/package.deb"; } >"$work/apt.log" 2>&1 ||
    { cat "$work/apt.log" >&2; die "apt-get could not install it"; }
[ "$(dpkg -S "$plugin")" = "$package: $plugin" ] || die "$plugin is missing, or belongs to another package"
[ -n "$given" ] || cmp "$plugin" target/dist/hetzner_plugin.so || die "$plugin differs from the one in target/dist"
for file in README.md.gz changelog.gz changelog.Debian.gz copyright THIRD-PARTY-LICENSES.gz; do
    # Containers are often set up to leave documentation out.
    dpkg -L "$package" | grep -qx "/usr/share/doc/$package/$file" || die "the package has no $file"
done
dpkg -L "$package" | grep -qx /usr/share/man/man7/uwsgi-hetzner.7.gz || die 'the package has no manual page'

# is_private FILE: checks that only root can read the file
is_private() { [ "$(as_root stat -c '%U:%G %a' "$1")" = 'root:root 600' ] || die "$1 is missing, or others than root can read it"; }

cmp "$unit" packaging/$name.service || die "$unit differs from the one in packaging"
as_root cat "$settings/uwsgi.ini" | cmp - packaging/uwsgi.ini || die "$settings/uwsgi.ini differs from the one in packaging"
is_private "$settings/uwsgi.ini"
is_private "$settings/password"
[ ! -s "$settings/password" ] || die "$settings/password is not empty"
[ ! -e "$wanted" ] || die "the unit is enabled"

# `uwsgi`, if it is Debian's alternative for uwsgi-core, as in Debian's documentation.
uwsgi=uwsgi-core
if have uwsgi && [ "$(readlink -f "$(command -v uwsgi)")" = /usr/bin/uwsgi-core ]; then uwsgi=uwsgi; fi
say "taking over with $uwsgi, which is $(readlink -f "$(command -v "$uwsgi")") $("$uwsgi" --version)"
logged=$(tests/takeover.sh "$robot" "$(command -v "$uwsgi")")

# The plugin logs the version of the package.
packaged=$(dpkg-query --show --showformat='${Version}' "$package")
[ "${packaged%-*}" = "${logged/-/\~}" ] || die "the plugin logs version $logged, but the package has version $packaged"

# --- The unit and the ini -----------------------------------------------------------------------

if ! have systemd-analyze; then
    say 'installing systemd for systemd-analyze'
    apt install -y --no-install-recommends systemd >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; die 'apt-get could not install systemd'; }
fi
by_systemd=()
if [ -d /run/systemd/system ]; then by_systemd=(--systemd); else say 'NOT RUN: starting the unit (systemd is not running here); its command is run by hand instead'; fi
# A copy that this user can read.
as_root cat "$settings/uwsgi.ini" >"$work/packaged.ini"
tests/instance.sh "${by_systemd[@]}" /usr/bin/uwsgi-core '' "$unit" "$work/packaged.ini"

# --- Upgrade, removal, purge --------------------------------------------------------------------

# are_kept WHEN: checks that the administrator's changes are unchanged and private
are_kept() {
    [ "$(as_root cat "$settings/uwsgi.ini")" = '; edited' ] && [ "$(as_root cat "$settings/password")" = BAR ] || die "the settings were lost $1"
    is_private "$settings/uwsgi.ini"
    is_private "$settings/password"
    [ -L "$wanted" ] || die "the unit is no longer enabled $1"
}

say 'upgrading to a package with another unit and another ini'
echo '; edited' | as_root tee "$settings/uwsgi.ini" >/dev/null
echo BAR | as_root tee "$settings/password" >/dev/null
as_root systemctl --quiet enable $name
dpkg-deb --raw-extract "$deb" "$work/next"
sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
echo '# next' | tee -a "$work/next$unit" >>"$work/next$settings/uwsgi.ini"
dpkg-deb --root-owner-group --build "$work/next" "$work/next.deb" >/dev/null
apt install -y --no-install-recommends -o Dpkg::Options::=--force-confold "$work/next.deb" >"$work/apt.log" 2>&1 ||
    { cat "$work/apt.log" >&2; die 'apt-get could not upgrade it'; }
grep -qx '# next' "$unit" || die "the unit was not replaced"
are_kept 'after an upgrade'

say 'removing it'
as_root dpkg --remove "$package" >/dev/null
for file in "$plugin" "$unit"; do [ ! -e "$file" ] || die "$file was not removed"; done
are_kept 'after its removal'

say 'purging it'
as_root dpkg --purge "$package" >/dev/null
installed=
[ ! -e "$settings" ] || die "$settings still contains: $(as_root ls "$settings")"
[ ! -L "$wanted" ] || die "the unit is still enabled"
say "passed"
