#!/usr/bin/env bash
# Builds the archive target/dist/uwsgi-hetzner-VERSION-linux-ARCH.tar.gz: the plugin that packaging/build.sh
# builds, the unit and the ini that run it, and the documents for an administrator, the manual page among them.
# All archives of one commit are identical.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

needs python3 python3
warn_if_dirty
epoch=$(source_date_epoch)
find_cargo
target=$(target)
name=uwsgi-hetzner-$(version)-linux-${target%%-*}

packaging/build.sh

stage=target/dist/.staging-tar
rm -rf "$stage"
mkdir -p "$stage/$name"
install -m 644 "$plugin" README.md LICENSE CHANGELOG.md packaging/uwsgi-failover.service packaging/uwsgi.ini "$stage/$name/"
packaging/licenses.py >"$stage/$name/THIRD-PARTY-LICENSES"
SOURCE_DATE_EPOCH=$epoch packaging/manual.py >"$stage/$name/uwsgi-hetzner.7"

tar --create --directory "$stage" --format=gnu --sort=name --mtime="@$epoch" \
    --owner=0 --group=0 --numeric-owner "$name" | gzip -9n >"target/dist/$name.tar.gz.new"
mv "target/dist/$name.tar.gz.new" "target/dist/$name.tar.gz"
rm -rf "$stage"
write_checksums
say "built target/dist/$name.tar.gz and target/dist/SHA256SUMS"
