#!/usr/bin/env bash
# Prints what CHANGELOG.md says of a version that is to be released: packaging/release-notes.sh VERSION
#
# That it says nothing, or that the version is not released yet, is an error.
set -euo pipefail
[ $# = 1 ] || { echo 'usage: packaging/release-notes.sh VERSION' >&2; exit 2; }
wanted=$1
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The whole word: 1.0.0 is not 1.0.0-rc.1, nor 1.0.01.
heading=$(awk -v version="$wanted" '$1 == "##" && $2 == version' CHANGELOG.md)
case $heading in
    '') die "CHANGELOG.md has no '## $wanted'" ;;
    *'(unreleased)'*) die "CHANGELOG.md says that $wanted is unreleased: give it its date" ;;
esac
notes=$(awk -v version="$wanted" '$1 == "##" { found = $2 == version; next } found' CHANGELOG.md)
[[ $notes = *[![:space:]]* ]] || die "CHANGELOG.md says nothing of $wanted"
printf '%s\n' "$notes" | sed '/./,$!d'
