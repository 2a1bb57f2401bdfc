#!/usr/bin/env bash
# Prints the notes in CHANGELOG.md for a version: packaging/release-notes.sh VERSION
#
# It is an error if there are none, or if the version is marked as unreleased.
set -euo pipefail
[ $# = 1 ] || { echo 'usage: packaging/release-notes.sh VERSION' >&2; exit 2; }
wanted=$1
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Compares the whole word, because 1.0.0 is not 1.0.0-rc.1.
heading=$(awk -v version="$wanted" '$1 == "##" && $2 == version' CHANGELOG.md)
case $heading in
    '') die "CHANGELOG.md has no heading '## $wanted'" ;;
    *'(unreleased)'*) die "CHANGELOG.md marks $wanted as unreleased: replace that with the date" ;;
esac
notes=$(awk -v version="$wanted" '$1 == "##" { found = $2 == version; next } found' CHANGELOG.md)
[[ $notes = *[![:space:]]* ]] || die "CHANGELOG.md has no notes for $wanted"
printf '%s\n' "$notes" | sed '/./,$!d'
