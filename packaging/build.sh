#!/usr/bin/env bash
# Builds the plugin that is packed, installed and measured: target/dist/hetzner_plugin.so.
#
# One commit, one Rust and one C compiler give the same file, byte for byte, whatever directory it is
# built in and whoever builds it: nothing of the machine gets in, neither its paths nor the
# caller's own flags for the compilers, be they in the environment or in files of cargo's, but for what those
# force, or set for single packages.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Fixed, as a target directory of the caller's own would be; so not CARGO_TARGET_DIR.
build=target/dist/build
most_bytes=$((2359296)) # 2.25 MiB

find_cargo
host=$(host)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
commit=$(rustc -vV | sed -n 's/^commit-hash: //p')

# The caller's profile, linker and flags stay out of it: those in the environment,
for name in $(compgen -e | grep -E '^(CARGO_(BUILD|PROFILE|TARGET)_|(CARGO_ENCODED_)?RUSTFLAGS$|CFLAGS_|TARGET_CFLAGS$)' || true); do
    unset "$name"
done
# and those in configuration files, which the command line goes before. First what Cargo.toml leaves to
# cargo, as cargo has it, then what it says.
settings=()
for setting in 'debug = false' 'split-debuginfo = "off"' 'debug-assertions = false' 'overflow-checks = false' \
    'panic = "unwind"' 'incremental = false' 'rpath = false'; do
    settings+=(--config "profile.release.$setting")
done
while read -r setting; do
    settings+=(--config "profile.release.$setting")
done < <(awk '/^\[/ { wanted = $0 == "[profile.release]"; next } wanted && /=/' Cargo.toml)
settings+=(--config "target.$host.linker = \"cc\"")
# A variable that is set, if to nothing, is not set again by [env] in such a file.
export RUSTC=rustc RUSTC_WRAPPER='' RUSTC_WORKSPACE_WRAPPER='' TARGET_CFLAGS='' "CFLAGS_${host//-/_}="

# The sources of the dependencies are there from here on, and so are the directories they lie in.
cargo fetch --quiet --locked --target "$host"

# Where several match, rustc takes the last.
remaps=("$root=/uwsgi-hetzner" "$cargo_home=/cargo")
for registry in "$cargo_home"/registry/src/*/; do
    if [ -d "$registry" ]; then remaps+=("${registry%/}=/cargo/registry"); fi
done
# Rust's standard library names itself so, unless its source is installed too.
remaps+=("$sysroot/lib/rustlib/src/rust=/rustc/$commit")

rust_flags= c_flags=
for remap in "${remaps[@]}"; do
    rust_flags+=${rust_flags:+$'\x1f'}--remap-path-prefix=$remap
    c_flags+=" -ffile-prefix-map=$remap"
done
[[ "$root$cargo_home" != *[[:space:]]* ]] || die "the path of this directory, or of cargo's, has a blank in it"

say "building $plugin (up to two minutes)"
# With --target, none of these flags is for what runs at build time alone.
env "CFLAGS_$host=" CARGO_ENCODED_RUSTFLAGS="$rust_flags" CFLAGS="$c_flags" CARGO_INCREMENTAL=0 \
    cargo rustc --quiet --release --locked --lib --crate-type cdylib --target "$host" --target-dir "$build" "${settings[@]}"

install -m 644 "$build/$host/release/libhetzner_plugin.so" "$plugin.new"
# Where a path begins, that is: within one it may well stand, as /src/ does in the standard library's own.
for path in "$root/" "$cargo_home/" "$sysroot/lib/rustlib/"; do
    status=0
    LC_ALL=C grep -qaP "(?<![A-Za-z0-9_-])\\Q$path\\E" "$plugin.new" || status=$?
    case $status in
        0) die "$plugin.new has a path of this machine in it, $path: it would differ elsewhere" ;;
        1) ;;
        *) die "$plugin.new could not be searched for paths of this machine" ;;
    esac
done
bytes=$(wc -c <"$plugin.new")
((bytes <= most_bytes)) || die "$plugin.new has $bytes bytes, and more than $most_bytes are not wanted"
mv "$plugin.new" "$plugin"
say "$(sha256sum "$plugin"), by $(rustc --version)"
