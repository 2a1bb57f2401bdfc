#!/usr/bin/env bash
# `make older-nodes OLDER=REVISION`: tests legions in which some nodes run this plugin, and others an older
# one, which is built from that revision of the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'older-nodes: %s\n' "$*" >&2; }
die() { say "ERROR $*"; exit 1; }

[ -n "${OLDER:-}" ] || die 'specify a revision, for example: make older-nodes OLDER=v0.1.0'
revision=$(git rev-parse --verify --quiet "$OLDER^{commit}") || die "no such revision: $OLDER"

tests/setup.sh test
tests/build-plugin.sh
work=target/older/$revision
if [ ! -f "$work/hetzner_plugin.so" ]; then
    say "building the plugin of $OLDER (a minute)"
    rm -rf "$work"
    mkdir -p "$work/source"
    git archive "$revision" | tar -x -C "$work/source"
    cargo build --quiet --release --lib --locked --manifest-path "$work/source/Cargo.toml" \
        --target-dir "$work/target"
    cp "$work/target/release/libhetzner_plugin.so" "$work/hetzner_plugin.so"
fi
HETZNER_OLDER_PLUGIN=$PWD/$work/hetzner_plugin.so tests/run.sh --test uwsgi older_
