#!/usr/bin/env bash
# Builds target/plugin/hetzner_plugin.so with `uwsgi --build-plugin`, in the uWSGI that tests/setup.sh
# has built. Does nothing if the plugin is up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

uwsgi=$root/target/uwsgi/2.0.31/uwsgi
plugin=$root/target/plugin/hetzner_plugin.so
log=target/plugin/build.log
sources=(src include build.rs Cargo.toml Cargo.lock uwsgiplugin.py "$uwsgi")

say() { printf 'build: %s\n' "$*" >&2; }
die() { printf 'build: ERROR %s\n' "$*" >&2; exit 1; }

# A removed file is noticed too, because its directory is newer then.
is_current() { [ -f "$plugin" ] && [ -z "$(find "${sources[@]}" -newer "$plugin" -print -quit)" ]; }

! is_current || exit 0
[ -x "$uwsgi" ] || die "$uwsgi does not exist: run tests/setup.sh first"
command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
mkdir -p target/plugin
exec 9>target/plugin/.lock
flock 9 # another run may be building it at the moment
! is_current || exit 0

# uWSGI takes each of these as an option, also while it builds.
unset "${!UWSGI_@}"

say "building the plugin with uwsgi --build-plugin (up to a minute)"
work=target/plugin/.building
rm -rf "$work"
mkdir "$work"
touch "$work/begun" # a source that changes during the build must be newer than the plugin
if ! (cd "$work" && PYTHON=python3 "$uwsgi" --build-plugin ../../..) >"$log" 2>&1 9>&-; then
    tail -n 30 "$log" >&2
    die "the plugin could not be built; the whole log is $log"
fi
touch -r "$work/begun" "$work/hetzner_plugin.so"
mv "$work/hetzner_plugin.so" "$plugin"
rm -rf "$work"
