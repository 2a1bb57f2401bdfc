#!/usr/bin/env bash
# `make matrix`: one file for every uWSGI 2.0.x. The plugin of the archive that `make dist` made, byte
# for byte, is loaded and takes over in each of these, and its ABI is compared with that of every
# version in tests/uwsgi-versions.txt.
#
#   tests/matrix.sh [what `cargo test` takes]      for example a part of the names of the tests to run
#
# MATRIX_VERSIONS, a list separated by blanks, says in which versions of uWSGI; the distribution's own
# is always among them, where there is one.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"

read -ra versions <<<"${MATRIX_VERSIONS:-2.0.1 2.0.5 2.0.10 2.0.15 2.0.21 2.0.28 2.0.31}"

archive=target/dist/uwsgi-hetzner-$(version)-linux-$(uname -m).tar.gz
[ -f "$archive" ] || die "there is no $archive: run make dist first"
(cd target/dist && sha256sum --check --quiet --ignore-missing SHA256SUMS) || die "an archive in target/dist is not the one that SHA256SUMS was made of: run make dist"

tests/setup.sh test
tests/setup.sh headers
tests/setup.sh uwsgi "${versions[@]}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$archive" -C "$work" --strip-components=1
export HETZNER_PLUGIN=$work/hetzner_plugin.so

binaries=()
for version in "${versions[@]}"; do binaries+=("$version=$PWD/target/uwsgi/$version/uwsgi"); done
distribution=/usr/bin/uwsgi-core
if [ -x "$distribution" ]; then
    binaries+=("distribution=$distribution")
elif have apt-get; then
    # Debian and its like have one, which tests/setup.sh could not install.
    die "NOT RUN: the distribution's uWSGI is missing: apt-get install uwsgi-core"
else
    say "this system has no uWSGI of its own"
fi
UWSGI_BINARIES=$(IFS=:; printf '%s' "${binaries[*]}")
export UWSGI_BINARIES

for binary in "${binaries[@]}"; do say "${binary%%=*}: uWSGI $("${binary#*=}" --version)"; done
say "$(sha256sum <"$HETZNER_PLUGIN" | cut -d' ' -f1) is the plugin, of $(basename "$archive")"

find_cargo
# `uwsgi --build-plugin` has a test of its own, in `make test`.
cargo test --locked --test uwsgi -- --skip build_ "$@"
say "passed: one file, $(wc -c <"$HETZNER_PLUGIN") bytes, in ${#binaries[@]} uWSGIs"
