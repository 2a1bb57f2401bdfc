#!/usr/bin/env bash
# Builds the plugin with tests/build-plugin.sh, and at the same time something else with the command that is given.
# For the plugin alone, all cores but one would be idle most of the time.
#
#   tests/build-beside.sh COMMAND [ARGUMENT ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ $# -gt 0 ] || { echo 'build: usage: tests/build-beside.sh COMMAND [ARGUMENT ...]' >&2; exit 2; }

# In a process group of its own, so that it can be stopped with all that it has started.
set -m
tests/build-plugin.sh &
plugin=$!
set +m
trap 'kill -- -"$plugin" 2>/dev/null || true' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

"$@"
wait "$plugin"
