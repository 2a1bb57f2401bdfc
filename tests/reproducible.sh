#!/usr/bin/env bash
# Builds the last commit twice as packages are built, in two directories, as two people would, and
# compares.
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
# A cargo of his own as well, whose registry is a copy, and flags of his own.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
mkdir "$work/cargo"
cp -R "$cargo_home/registry" "$work/cargo/"
(
    umask 077
    export CARGO_HOME=$work/cargo CARGO_BUILD_JOBS=1 CARGO_PROFILE_RELEASE_OPT_LEVEL=1
    export RUSTFLAGS='-C target-cpu=native' CFLAGS=-g TARGET_CFLAGS=-O0 LC_ALL=C TZ=Asia/Tokyo
    "$work/and/another/two/packaging/build.sh"
)
cmp "$work/one/target/dist/hetzner_plugin.so" "$work/and/another/two/target/dist/hetzner_plugin.so" ||
    die "the two builds of one commit differ"
say "the two builds of $(git rev-parse --short HEAD) are the same"
