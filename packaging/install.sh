#!/usr/bin/env bash
# Installs the plugin as DESTDIR/PLUGINDIR/hetzner_plugin.so, and its manual page as
# DESTDIR/MANDIR/man7/uwsgi-hetzner.7.
#
# PLUGINDIR defaults to the plugin directory of this system's uWSGI: the program UWSGI, or `uwsgi` in the PATH,
# or Debian's `uwsgi-core`. MANDIR defaults to /usr/local/share/man. Without python3, or where MANDIR is not
# writable, the plugin is installed without its manual page, with a warning.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Prints the directory in a uWSGI's compiler flags: -DUWSGI_PLUGIN_DIR="\"/usr/lib/uwsgi/plugins\""
plugin_dir_of() {
    local flags
    flags=$("$1" --cflags 2>&1) || die "could not get the plugin directory from $1, which does not run: ${flags##*$'\n'}"
    sed -n 's/.*-DUWSGI_PLUGIN_DIR="*\\*"*\([^"\\]*\).*/\1/p' <<<"$flags" | head -n 1
}

choose_plugin_dir() {
    local uwsgi
    for uwsgi in ${UWSGI:-uwsgi uwsgi-core}; do
        have "$uwsgi" || continue
        PLUGINDIR=$(plugin_dir_of "$uwsgi")
        case $PLUGINDIR in
            /*)
                say "$(command -v "$uwsgi") looks for plugins in $PLUGINDIR"
                return
                ;;
            '') die "$uwsgi does not report its plugin directory; specify one: make install PLUGINDIR=..." ;;
            *) die "$uwsgi looks for plugins in '$PLUGINDIR', relative to the directory it is started in; specify a directory with make install PLUGINDIR=..., and set plugins-dir to it in uWSGI's configuration" ;;
        esac
    done
    die "${UWSGI:-uwsgi} was not found; specify the plugin directory: make install PLUGINDIR=..."
}

# An up-to-date plugin is not rebuilt, because root, who installs it, may have no cargo.
is_current() { [ -f "$plugin" ] && [ -z "$(find src build.rs Cargo.toml Cargo.lock packaging/build.sh -newer "$plugin" -print -quit)" ]; }

if [ -z "${PLUGINDIR:-}" ]; then choose_plugin_dir; fi
is_current || packaging/build.sh
directory=${DESTDIR:-}$PLUGINDIR
install -d "$directory" 2>/dev/null && [ -w "$directory" ] ||
    die "$directory cannot be written to: run make build, and then make install as root"
install -m 644 "$plugin" "$directory/hetzner_plugin.so"
say "installed $directory/hetzner_plugin.so"

manual=${DESTDIR:-}${MANDIR:-/usr/local/share/man}/man7
if ! have python3; then
    say 'WARNING the manual page is not installed: python3, which makes it, was not found'
elif ! install -d "$manual" 2>/dev/null || [ ! -w "$manual" ]; then
    say "WARNING the manual page is not installed: $manual cannot be written to; MANDIR names another directory"
else
    packaging/manual.py >target/dist/uwsgi-hetzner.7
    install -m 644 target/dist/uwsgi-hetzner.7 "$manual/"
    say "installed $manual/uwsgi-hetzner.7"
fi
