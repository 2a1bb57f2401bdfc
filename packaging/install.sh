#!/usr/bin/env bash
# Installs the plugin, DESTDIR/PLUGINDIR/hetzner_plugin.so, and its manual page, DESTDIR/MANDIR/man7/uwsgi-hetzner.7.
#
# PLUGINDIR is, unless it is given, where the machine's own uWSGI says that it looks. UWSGI names that
# uWSGI; else it is the `uwsgi`, or Debian's `uwsgi-core`, of the PATH. MANDIR is /usr/local/share/man unless it is
# given. Without python3, or where MANDIR cannot be written to, the plugin is installed without its manual page.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The directory in the flags that this uWSGI was compiled with: -DUWSGI_PLUGIN_DIR="\"/usr/lib/uwsgi/plugins\""
plugin_dir_of() {
    local flags
    flags=$("$1" --cflags 2>&1) || die "$1 does not run, so where does it look for plugins? ${flags##*$'\n'}"
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
            '') die "$uwsgi does not say where it looks for plugins: give the directory, make install PLUGINDIR=..." ;;
            *) die "$uwsgi looks for plugins in no directory of its own, but in '$PLUGINDIR' of wherever it is started: give one, make install PLUGINDIR=..., and name that in its configuration with plugins-dir" ;;
        esac
    done
    die "no ${UWSGI:-uwsgi} was found, so where does it look for plugins? Give the directory: make install PLUGINDIR=..."
}

# Not built anew where nothing has changed: root, who installs, may have no cargo.
is_current() { [ -f "$plugin" ] && [ -z "$(find src build.rs Cargo.toml Cargo.lock packaging/build.sh -newer "$plugin" -print -quit)" ]; }

if [ -z "${PLUGINDIR:-}" ]; then choose_plugin_dir; fi
is_current || packaging/build.sh
directory=${DESTDIR:-}$PLUGINDIR
install -d "$directory" 2>/dev/null && [ -w "$directory" ] ||
    die "$directory cannot be written to: run make build, and as root, make install"
install -m 644 "$plugin" "$directory/hetzner_plugin.so"
say "$directory/hetzner_plugin.so"

manual=${DESTDIR:-}${MANDIR:-/usr/local/share/man}/man7
if ! have python3; then
    say 'WARNING the manual page is not installed: python3, which makes it, was not found'
elif ! install -d "$manual" 2>/dev/null || [ ! -w "$manual" ]; then
    say "WARNING the manual page is not installed: $manual cannot be written to; MANDIR names another directory"
else
    packaging/manual.py >target/dist/uwsgi-hetzner.7
    install -m 644 target/dist/uwsgi-hetzner.7 "$manual/"
    say "$manual/uwsgi-hetzner.7"
fi
