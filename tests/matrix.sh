#!/usr/bin/env bash
# `make matrix`: tests that one file works with every uWSGI 2.0.x. Runs the tests with the plugin from the
# archive of `make dist` in several versions of uWSGI, and compares the ABI with that of every version in
# tests/uwsgi-versions.txt.
#
#   tests/matrix.sh [ARGUMENT...]      arguments for the tests, for example a part of their names
#
# MATRIX_VERSIONS is the list of versions, separated by spaces. The distribution's own uWSGI is added if
# there is one.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"

read -ra versions <<<"${MATRIX_VERSIONS:-2.0.1 2.0.5 2.0.10 2.0.15 2.0.21 2.0.28 2.0.31}"

archive=target/dist/uwsgi-hetzner-$(version)-linux-$(uname -m).tar.gz
[ -f "$archive" ] || die "$archive does not exist: run make dist first"
(cd target/dist && sha256sum --check --quiet --ignore-missing SHA256SUMS) || die "an archive in target/dist does not match SHA256SUMS: run make dist"

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
    # Debian and its derivatives have one, but tests/setup.sh could not install it.
    die "NOT RUN: the distribution's uWSGI is missing: apt-get install uwsgi-core"
else
    say "this system has no uWSGI package"
fi
UWSGI_BINARIES=$(IFS=:; printf '%s' "${binaries[*]}")
export UWSGI_BINARIES

for binary in "${binaries[@]}"; do say "${binary%%=*}: uWSGI $("${binary#*=}" --version)"; done
say "the plugin is $(sha256sum <"$HETZNER_PLUGIN" | cut -d' ' -f1), from $(basename "$archive")"

find_cargo
# The build_ tests are for `uwsgi --build-plugin`, which `make test` covers.
cargo test --locked --test uwsgi -- --skip build_ "$@"
say "passed: one file of $(wc -c <"$HETZNER_PLUGIN") bytes works in ${#binaries[@]} uWSGIs"
