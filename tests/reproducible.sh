#!/usr/bin/env bash
# `make reproducible`: builds the plugin of the last commit twice with packaging/build.sh, in two directories
# and with the settings of two different people, and compares the files.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"

warn_if_dirty
find_cargo
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet "$root" "$work/one"
git clone --quiet "$root" "$work/and/another/two"

"$work/one/packaging/build.sh"

# The second person has another CARGO_HOME, with a copy of the registry and of the caller's configuration,
# which may replace the registry by a mirror.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
mkdir "$work/cargo"
cp -R "$cargo_home/registry" "$work/cargo/"
for file in config config.toml; do
    if [ -f "$cargo_home/$file" ]; then cp "$cargo_home/$file" "$work/cargo/"; fi
done
# The other settings are in a file of their own, which overrides that of CARGO_HOME, because a table must not
# occur twice in one file.
mkdir "$work/and/.cargo"
cat >"$work/and/.cargo/config.toml" <<'END'
[build]
target = "wasm32-unknown-unknown"
target-dir = "elsewhere"
rustc-wrapper = "/no/such/wrapper"
rustflags = ["-C", "target-cpu=native"]

[profile.release]
opt-level = 1
lto = false
codegen-units = 16
debug = true
strip = "none"
panic = "abort"
overflow-checks = true
debug-assertions = true
rpath = true

[target.'cfg(unix)']
linker = "/no/such/linker"
rustflags = ["-C", "target-cpu=native"]

[env]
CFLAGS = "-g"
TARGET_CFLAGS = "-O0"
CFLAGS_x86_64_unknown_linux_gnu = "-O0"
CFLAGS_aarch64_unknown_linux_gnu = "-O0"
END
host=$(host)
printf '\n[target.%s]\nlinker = "/no/such/linker"\nrustflags = ["-C", "target-cpu=native"]\n' "$host" >>"$work/and/.cargo/config.toml"
(
    umask 077
    export CARGO_HOME=$work/cargo CARGO_BUILD_JOBS=1 CARGO_PROFILE_RELEASE_OPT_LEVEL=1
    export RUSTFLAGS='-C target-cpu=native' CFLAGS=-g TARGET_CFLAGS=-O0 LC_ALL=C TZ=Asia/Tokyo
    "$work/and/another/two/packaging/build.sh"
)
cmp "$work/one/target/dist/hetzner_plugin.so" "$work/and/another/two/target/dist/hetzner_plugin.so" ||
    die "the two builds of one commit differ"
say "the two builds of $(git rev-parse --short HEAD) are identical"
