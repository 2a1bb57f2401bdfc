#!/usr/bin/env bash
# Builds the package target/dist/uwsgi-plugin-hetzner_VERSION_ARCH.deb for Debian, Ubuntu and derivatives, with
# the plugin that packaging/build.sh builds. It needs the package dpkg-dev, and no root.
#
# cargo-deb (3.8) is not used: it drops libgcc-s1 from the dependencies, and this script would still have to
# build the plugin and write the licenses, the copyright file and both changelogs before it runs.
#
# The maintainer is given by DEBFULLNAME and DEBEMAIL, as for Debian's own tools, or is the author of the last
# commit. With LINTIAN=required, it is an error if lintian is missing.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

package=uwsgi-plugin-hetzner
# The plugin directory of Debian's uwsgi-core (UWSGI_PLUGIN_DIR in `uwsgi-core --cflags`).
plugins=usr/lib/uwsgi/plugins
doc=usr/share/doc/$package
units=usr/lib/systemd/system
settings=etc/uwsgi-failover
manual=usr/share/man/man7
overrides=usr/share/lintian/overrides
revision=1

needs dpkg-deb dpkg
needs dpkg-shlibdeps dpkg-dev
needs python3 python3
if [ "${LINTIAN:-}" = required ]; then needs lintian lintian; fi

warn_if_dirty
SOURCE_DATE_EPOCH=$(source_date_epoch)
export SOURCE_DATE_EPOCH # dpkg-deb uses it too
upstream=$(version)
# A pre-release has a - in Cargo.toml. In Debian it has a ~, so that 1.0.0~rc.1 sorts before 1.0.0.
deb_version=${upstream/-/\~}-$revision
find_cargo
arch=$(dpkg-architecture --host-type "$(gnu_target)" --force --query DEB_HOST_ARCH 2>/dev/null) ||
    die "dpkg knows no architecture for $(target)"
if [ -n "${DEBEMAIL:-}" ]; then
    maintainer="${DEBFULLNAME:-$DEBEMAIL} <$DEBEMAIL>"
else
    needs git git
    maintainer=$(git log -1 --format='%an <%ae>') || die "could not get the maintainer from git: set DEBFULLNAME and DEBEMAIL"
fi

packaging/build.sh

stage=target/dist/.staging-deb
rm -rf "$stage"
mkdir -p "$stage/debian"
root_of_package=$stage/tree
for directory in DEBIAN "$plugins" "$units" "$settings" "$doc" "$manual" "$overrides"; do mkdir -p "$root_of_package/$directory"; done

# --- Installed files --------------------------------------------------------------------------

install -m 644 "$plugin" "$root_of_package/$plugins/"
install -m 644 packaging/uwsgi-failover.service "$root_of_package/$units/"
# It will contain the legion's secret.
install -m 600 packaging/uwsgi.ini "$root_of_package/$settings/"
install -m 644 packaging/debian/lintian-overrides "$root_of_package/$overrides/$package"

# Debian's policy is to compress texts that are not short.
doc_gz() { gzip -9nc >"$root_of_package/$doc/$1.gz"; }
doc_gz README.md <README.md
doc_gz changelog <CHANGELOG.md
packaging/licenses.py >"$stage/third-party"
doc_gz THIRD-PARTY-LICENSES <"$stage/third-party"
packaging/manual.py >"$stage/manual"
gzip -9nc <"$stage/manual" >"$root_of_package/$manual/uwsgi-hetzner.7.gz"
doc_gz changelog.Debian <<END
$package ($deb_version) unstable; urgency=medium

  * uwsgi-hetzner $upstream; its changes are listed in changelog.gz.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
END

# The license in the machine-readable format, in which an empty line of the text is a dot.
{
    cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: uwsgi-hetzner
Upstream-Contact: $maintainer
Comment: The plugin is linked statically with the crates that are listed in
 /$doc/THIRD-PARTY-LICENSES.gz,
 under the licenses that are given there.

Files: *
END
    sed -n 's/^Copyright (c) /Copyright: /p' LICENSE
    echo 'License: Expat'
    sed -e '1,/^Copyright/d' LICENSE | sed -e '/./,$!d' -e 's/^$/./' -e 's/^/ /'
} >"$root_of_package/$doc/copyright"

# --- Control files ----------------------------------------------------------------------------

# dpkg-shlibdeps finds the packages of the libraries that the plugin is linked with, and their minimum
# versions. It must be run in a source package.
printf 'Source: %s\n\nPackage: %s\nArchitecture: %s\n' "$package" "$package" "$arch" >"$stage/debian/control"
libraries=$(cd "$stage" && DEB_HOST_ARCH=$arch dpkg-shlibdeps -O -e"tree/$plugins/hetzner_plugin.so" 2>shlibdeps.log) || {
    cat "$stage/shlibdeps.log" >&2
    die "dpkg-shlibdeps failed"
}
libraries=${libraries#shlibs:Depends=}

# In KiB, as dpkg-gencontrol counts: each file rounded up, and 1 for everything else, such as a directory.
size=$(cd "$root_of_package" && find usr -type f -printf '%s\n' -o -printf '1\n' | awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')

cat >"$root_of_package/DEBIAN/control" <<END
Package: $package
Version: $deb_version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $size
Depends: uwsgi-core (>= 2.0.1), uwsgi-core (<< 2.1~), $libraries
Section: httpd
Priority: optional
Description: Hetzner failover IP plugin for uWSGI
 This plugin adds the action hetzner-failoverip to uWSGI's Legion subsystem.
 The action routes a Hetzner failover IP to the server that became Lord of its
 legion, through Hetzner's Robot webservice.
 .
 The unit uwsgi-failover.service runs the legion in a dedicated uWSGI, which is
 configured in /etc/uwsgi-failover/uwsgi.ini. It is not enabled by default.
 .
 The manual page uwsgi-hetzner(7) describes the configuration, and
 /$doc/README.md.gz the setup.
END
(cd "$root_of_package" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root_of_package/DEBIAN/md5sums"
# On an upgrade, dpkg keeps the administrator's changes to this file, and its mode.
echo "/$settings/uwsgi.ini" >"$root_of_package/DEBIAN/conffiles"
install -m 755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root_of_package/DEBIAN/"

# --- The package ------------------------------------------------------------------------------

find "$root_of_package" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
# GitHub replaces a ~ in a file's name with a dot, and then the name in SHA256SUMS would be wrong.
deb=target/dist/${package}_${deb_version/\~/.}_$arch.deb
dpkg-deb --build --root-owner-group -Zxz "$root_of_package" "$deb.new" >/dev/null
mv "$deb.new" "$deb"
rm -rf "$stage"
write_checksums
say "built $deb and target/dist/SHA256SUMS"

if have lintian; then
    # Debian's changelogs close the bug that requests the package. There is no such bug.
    lintian --fail-on error,warning --allow-root --suppress-tags initial-upload-closes-no-bugs "$deb" ||
        die "lintian reports errors or warnings for $deb"
else
    say "NOT CHECKED by lintian, which was not found: apt-get install lintian"
fi
