#!/usr/bin/env bash
# `make arm64`: builds archive and package for arm64, and tests them under qemu-user, on another processor.
#
# All of it happens in a root directory with Debian 13 (tests/root.sh): Debian's own rustc and cross compiler build the
# plugin, the C compiler compares the ABI with the header of Debian's uwsgi-core for arm64, the unit tests run,
# and that uwsgi-core takes over an IP of the mock Robot. The results are in target/dist.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"
# shellcheck source=tests/root.sh
. tests/root.sh
program=arm64
export RUST_TARGET=aarch64-unknown-linux-gnu
gnu=aarch64-linux-gnu
emulator=qemu-aarch64

find_cargo
# Both need git, and the network, which the root directory has not.
if [ -z "${IN_NAMESPACES:-}" ]; then
    warn_if_dirty
    SOURCE_DATE_EPOCH=$(source_date_epoch)
    DEBFULLNAME=${DEBFULLNAME:-$(git log -1 --format=%an)}
    DEBEMAIL=${DEBEMAIL:-$(git log -1 --format=%ae)}
    export SOURCE_DATE_EPOCH DEBFULLNAME DEBEMAIL
    cargo fetch --quiet --locked
    host=$(host)
    cargo build --quiet --locked -p testbed --bin robot --target "$host" --target-dir target
fi
enter_namespaces "$@"

make_root debian-13-arm64 trixie 'dpkg --add-architecture arm64' \
    cargo rustc libstd-rust-dev:arm64 gcc libc6-dev gcc-$gnu libc6-dev-arm64-cross dpkg-dev lintian python3 qemu-user \
    uwsgi-core:arm64 libssl-dev:arm64 libcap-dev:arm64 libpcre2-dev:arm64 uuid-dev:arm64 zlib1g-dev:arm64
host=$(host)

# --- The packages -------------------------------------------------------------------------------

build() {
    in_root env RUST_TARGET="$RUST_TARGET" SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" DEBFULLNAME="$DEBFULLNAME" DEBEMAIL="$DEBEMAIL" \
        LINTIAN=required "$@"
}
build packaging/dist.sh
build packaging/deb.sh
upstream=$(version)
deb=target/dist/uwsgi-plugin-hetzner_${upstream/-/.}-1_arm64.deb
in_root apt-get -qq install -y --no-install-recommends --reinstall "$root/$deb" >"$TMPDIR/apt.log" 2>&1 ||
    { cat "$TMPDIR/apt.log" >&2; die "apt-get could not install $deb"; }
in_root cmp "$plugin" /usr/lib/uwsgi/plugins/hetzner_plugin.so || die "the package has another plugin than $plugin"

# --- The ABI ------------------------------------------------------------------------------------

in_root $emulator /usr/bin/uwsgi-core --dot-h >"$TMPDIR/uwsgi.h"
flags=$(in_root $emulator /usr/bin/uwsgi-core --cflags)
# They are written for a shell.
in_root sh -c "$gnu-gcc $flags -Werror -I$TMPDIR -Iinclude -c include/abi_check.c -o $TMPDIR/abi_check.o" ||
    die 'the ABI differs from that of Debian'\''s uwsgi-core for arm64'
say "the ABI is that of uWSGI $(in_root $emulator /usr/bin/uwsgi-core --version) for arm64"
in_root env CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$gnu-gcc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$emulator \
    cargo test --quiet --locked --lib --target "$RUST_TARGET" --target-dir target/arm64

# --- A takeover ---------------------------------------------------------------------------------

logged=$(tests/takeover.sh "$root/target/$host/debug/robot" chroot "$tree" $emulator /usr/bin/uwsgi-core)
[ "$logged" = "$upstream" ] || die "the plugin logs version $logged instead of $upstream"
say "passed: $(basename "$deb") works under $(in_root $emulator --version | sed -n 's/.*\(version [^ ]*\).*/qemu-user \1/p')"
