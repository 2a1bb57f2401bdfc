#!/usr/bin/env bash
# Writes target/dist/uwsgi-hetzner-VERSION.cdx.json, a software bill of materials in CycloneDX's format: the crates
# that the plugin of the last commit is built from, the same on both processors. It is identical for everybody who
# makes it, and is added to target/dist/SHA256SUMS.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

needs git git
needs python3 python3
find_cargo
have cargo-cyclonedx || die "cargo-cyclonedx was not found; install it: cargo install --locked cargo-cyclonedx"
warn_if_dirty
SOURCE_DATE_EPOCH=$(source_date_epoch)
export SOURCE_DATE_EPOCH # instead of the time and a random number
name=uwsgi-hetzner-$(version)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# In a copy, because it writes a file beside each Cargo.toml of the workspace.
git archive HEAD | tar -x -C "$work"
for target in x86_64 aarch64; do
    cargo tree --locked --manifest-path "$work/Cargo.toml" --package uwsgi-hetzner --edges normal,build --prefix none \
        --target $target-unknown-linux-gnu | sort --unique >"$work/crates-$target"
done
cmp "$work"/crates-* || die 'the plugin is built from other crates on arm64 than on x86-64'
cargo cyclonedx --quiet --manifest-path "$work/Cargo.toml" --format json --target x86_64-unknown-linux-gnu --override-filename bom
# The directory that it was made in is of no use to anybody.
sed -e "s|path+file://$work|path+file:///uwsgi-hetzner|g" -e "s|?download_url=file://[^\"#]*||g" "$work/bom.json" >"$work/bom"
! grep -F "$work" "$work/bom" || die "the bill of materials contains a path of this machine"
mkdir -p target/dist
mv "$work/bom" "target/dist/$name.cdx.json"
write_checksums
say "built target/dist/$name.cdx.json with $(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["components"]))' "target/dist/$name.cdx.json") crates"
