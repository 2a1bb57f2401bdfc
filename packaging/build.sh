#!/usr/bin/env bash
# Builds target/dist/hetzner_plugin.so, the plugin that is packaged, installed and measured. With
# RUST_TARGET=aarch64-unknown-linux-gnu it builds target/dist/aarch64-unknown-linux-gnu/hetzner_plugin.so with
# Debian's cross compiler (gcc-aarch64-linux-gnu), and needs Rust's standard library for that platform.
#
# The build is reproducible: the same commit, Rust compiler and C compiler give the same file, byte for byte,
# in any directory and for any user. The machine's paths do not get into the file, and neither do the caller's
# compiler flags, whether from the environment or from cargo's configuration. The exceptions are flags that a
# configuration forces, or sets for single packages.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Not CARGO_TARGET_DIR, so that nothing else is built in this directory.
build=target/dist/build
most_bytes=$((2359296)) # 2.25 MiB

find_cargo
target=$(target)
compiler=cc
[ "$target" = "$(host)" ] || compiler=$(gnu_target)-gcc
needs "$compiler" "gcc${RUST_TARGET:+-$(gnu_target)}"
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
commit=$(rustc -vV | sed -n 's/^commit-hash: //p')

# Ignore the caller's profile, linker and flags: first those in the environment,
for name in $(compgen -e | grep -E '^(CARGO_(BUILD|PROFILE|TARGET)_|(CARGO_ENCODED_)?RUSTFLAGS$|CFLAGS_|TARGET_CFLAGS$)' || true); do
    unset "$name"
done
# then those in configuration files, which the command line overrides: with cargo's defaults for what
# Cargo.toml does not set, and with what it does set.
settings=()
for setting in 'debug = false' 'split-debuginfo = "off"' 'debug-assertions = false' 'overflow-checks = false' \
    'panic = "unwind"' 'incremental = false' 'rpath = false'; do
    settings+=(--config "profile.release.$setting")
done
while read -r setting; do
    settings+=(--config "profile.release.$setting")
done < <(awk '/^\[/ { wanted = $0 == "[profile.release]"; next } wanted && /=/' Cargo.toml)
settings+=(--config "target.$target.linker = \"$compiler\"")
# [env] in a configuration file does not replace a variable that is set, even to nothing.
export RUSTC=rustc RUSTC_WRAPPER='' RUSTC_WORKSPACE_WRAPPER='' TARGET_CFLAGS='' "CFLAGS_${target//-/_}="

# After this, the sources of the dependencies exist, and so do their directories, which are remapped below.
cargo fetch --quiet --locked --target "$target"

# If several prefixes match, rustc uses the last.
remaps=("$root=/uwsgi-hetzner" "$cargo_home=/cargo")
for registry in "$cargo_home"/registry/src/*/; do
    if [ -d "$registry" ]; then remaps+=("${registry%/}=/cargo/registry"); fi
done
# This is the name that Rust's standard library has for its files, unless its source is installed.
remaps+=("$sysroot/lib/rustlib/src/rust=/rustc/$commit")

rust_flags= c_flags=
for remap in "${remaps[@]}"; do
    rust_flags+=${rust_flags:+$'\x1f'}--remap-path-prefix=$remap
    c_flags+=" -ffile-prefix-map=$remap"
done
[[ "$root$cargo_home" != *[[:space:]]* ]] || die "this directory's path or CARGO_HOME contains a space, which the C compiler's flags cannot"

say "building $plugin (up to two minutes)"
# With --target, these flags do not apply to build scripts and macros.
env "CFLAGS_$target=" CARGO_ENCODED_RUSTFLAGS="$rust_flags" CFLAGS="$c_flags" CARGO_INCREMENTAL=0 \
    cargo rustc --quiet --release --locked --lib --crate-type cdylib --target "$target" --target-dir "$build" "${settings[@]}"

mkdir -p "$(dirname "$plugin")"
install -m 644 "$build/$target/release/libhetzner_plugin.so" "$plugin.new"
# Matches only at the start of a path: within one, a short name like /src/ is harmless.
for path in "$root/" "$cargo_home/" "$sysroot/lib/rustlib/"; do
    status=0
    LC_ALL=C grep -qaP "(?<![A-Za-z0-9_-])\\Q$path\\E" "$plugin.new" || status=$?
    case $status in
        0) die "$plugin.new contains a path of this machine, $path, so it would differ on another one" ;;
        1) ;;
        *) die "could not search $plugin.new for paths of this machine" ;;
    esac
done
bytes=$(wc -c <"$plugin.new")
((bytes <= most_bytes)) || die "$plugin.new has $bytes bytes; the limit is $most_bytes"
mv "$plugin.new" "$plugin"
say "$(sha256sum "$plugin"), built with $(rustc --version)"
