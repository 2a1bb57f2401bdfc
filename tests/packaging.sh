#!/usr/bin/env bash
# `make package-test`: what `make install` puts where and what it says where it cannot, what is in the archive of
# `make dist`, whether its unit and its ini work, and which notes a release gets. Nothing is changed but target/;
# no root is needed.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"
program='package-test'

for tool in make nm tar; do have "$tool" || die "NOT RUN: $tool was not found"; done
# Of whoever calls this, make included.
unset MAKEFLAGS MFLAGS MAKELEVEL DESTDIR PLUGINDIR MANDIR UWSGI

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# expect WHAT COMMAND...: the command succeeds
expect() {
    local what=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        passed=$((passed + 1))
        say "ok      $what"
    else
        failed=$((failed + 1))
        say "FAILED  $what"
        sed 's/^/    /' "$work/output" >&2
    fi
}

# refuses PATTERN COMMAND...: the command fails, and says so in one line of ERROR that matches
refuses() {
    local pattern=$1 status=0
    shift
    "$@" >"$work/refusal" 2>&1 || status=$?
    cat "$work/refusal"
    [ "$status" != 0 ] && [ "$(grep -c ERROR "$work/refusal")" = 1 ] && grep -qE -- "ERROR .*$pattern" "$work/refusal"
}

# --- make install -------------------------------------------------------------------------------

# fake_uwsgi NAME SCRIPT: a uWSGI of a few words
fake_uwsgi() {
    printf '#!/bin/sh\n%s\n' "$2" >"$work/$1"
    chmod +x "$work/$1"
}
# As uWSGI prints them.
flags_with() { printf "echo '%s'" "-O2 -I. -Wall -DUWSGI_SSL -DUWSGI_PLUGIN_DIR=\"\\\"$1\\\"\" -DUWSGI_VERSION=\"\\\"2.0.31\\\"\""; }

is_installed_at() { cmp "$plugin" "$1" && [ "$(stat -c %a "$1")" = 644 ]; }

# installs AT ARGUMENT...: make install puts it there, the manual page below MANDIR, and nothing anywhere else in
# $work/dest
installs() {
    local at=$1
    shift
    rm -rf "$work/dest" "$work/man"
    case " $* " in
        *' DESTDIR='*) make install "$@" && mv "$work/dest/usr/local/share/man" "$work/man" || return ;;
        *) make install MANDIR="$work/man" "$@" || return ;;
    esac
    is_installed_at "$at" && is_the_manual "$work/man/man7/uwsgi-hetzner.7" &&
        { [ ! -d "$work/dest" ] || [ "$(find "$work/dest" -type f | wc -l)" = 1 ]; }
}
is_the_manual() { diff <(packaging/manual.py) "$1" && [ "$(stat -c %a "$1")" = 644 ]; }
installs_without_manual() {
    rm -rf "$work/dest"
    make install DESTDIR="$work/dest" PLUGINDIR=/p MANDIR=/p/hetzner_plugin.so 2>&1 | grep 'WARNING the manual page' &&
        is_installed_at "$work/dest/p/hetzner_plugin.so"
}

# refuses_install PATTERN ARGUMENT...: and nothing is installed
refuses_install() {
    local pattern=$1
    shift
    rm -rf "$work/dest"
    refuses "$pattern" make install DESTDIR="$work/dest" "$@" && [ ! -e "$work/dest" ]
}

# A cargo that fails goes before one that may lie beside make.
without_cargo() { env -i PATH="$work/no-cargo:/usr/bin:/bin" HOME="$work" make install DESTDIR="$work/bare" PLUGINDIR=/plugins && is_installed_at "$work/bare/plugins/hetzner_plugin.so"; }

fake_uwsgi absolute "$(flags_with /opt/uwsgi/plugins)"
fake_uwsgi relative "$(flags_with .)"
fake_uwsgi silent 'echo -O2'
fake_uwsgi broken 'echo "libpcre2-8.so.0: cannot open shared object file" >&2; exit 127'
: >"$work/file"
mkdir "$work/no-cargo"
printf '#!/bin/sh\necho "cargo was called" >&2\nexit 1\n' >"$work/no-cargo/cargo"
chmod +x "$work/no-cargo/cargo"

packaging/build.sh
expect 'install: PLUGINDIR is honoured' installs "$work/here/hetzner_plugin.so" PLUGINDIR="$work/here"
expect 'install: DESTDIR goes before PLUGINDIR' installs "$work/dest/p/q/hetzner_plugin.so" DESTDIR="$work/dest" PLUGINDIR=/p/q
expect 'install: with PLUGINDIR no uWSGI is asked' installs "$work/dest/p/hetzner_plugin.so" DESTDIR="$work/dest" PLUGINDIR=/p UWSGI="$work/broken"
expect 'install: else uWSGI says where' installs "$work/dest/opt/uwsgi/plugins/hetzner_plugin.so" DESTDIR="$work/dest" UWSGI="$work/absolute"
if have uwsgi-core; then
    expect "install: this system's uWSGI says where" installs "$work/dest/usr/lib/uwsgi/plugins/hetzner_plugin.so" DESTDIR="$work/dest" UWSGI=uwsgi-core
else
    say "NOT RUN install: this system's uWSGI says where (there is no uwsgi-core)"
fi
expect 'install: what is built is installed without cargo' without_cargo
expect 'install: a manual page that cannot be installed is a warning' installs_without_manual
expect 'install: a uWSGI that looks wherever it is started is no answer' refuses_install 'make install PLUGINDIR=' UWSGI="$work/relative"
expect 'install: nor is one that says nothing' refuses_install 'make install PLUGINDIR=' UWSGI="$work/silent"
expect 'install: a uWSGI that does not run is an error, with what it said' refuses_install 'libpcre2-8' UWSGI="$work/broken"
expect 'install: no uWSGI is an error' refuses_install 'no-such-uwsgi was found' UWSGI=no-such-uwsgi
expect 'install: a directory that cannot be made is an error' refuses 'cannot be written to' make install DESTDIR="$work/file" PLUGINDIR=/p

# --- make dist ----------------------------------------------------------------------------------

name=uwsgi-hetzner-$(version)-linux-$(uname -m)
archive=target/dist/$name.tar.gz

holds_what_it_should() {
    diff <(tar -tzf "$archive" | LC_ALL=C sort) - <<END
$name/
$name/CHANGELOG.md
$name/LICENSE
$name/README.md
$name/THIRD-PARTY-LICENSES
$name/hetzner_plugin.so
$name/uwsgi-failover.service
$name/uwsgi-hetzner.7
$name/uwsgi.ini
END
}
names_nobody() { tar --numeric-owner -tvzf "$archive" | awk '$2 != "0/0" { print; wrong = 1 } END { exit wrong }'; }
sums_verify() { (cd target/dist && sha256sum --check SHA256SUMS) && grep -q "  $name.tar.gz\$" target/dist/SHA256SUMS; }
texts_are_ours() { local text; for text in README.md LICENSE CHANGELOG.md packaging/uwsgi-failover.service packaging/uwsgi.ini; do cmp "$text" "$work/$name/${text##*/}" || return; done; }
has_a_manual() {
    man --warnings -l "$work/$name/uwsgi-hetzner.7" 2>"$work/warnings" | grep -q password_file && diff "$work/warnings" - </dev/null
}
is_small() { [ "$(wc -c <"$work/$name/hetzner_plugin.so")" -le $((9 * 256 * 1024)) ]; }
exports_one_symbol() {
    diff <(nm --dynamic --defined-only "$work/$name/hetzner_plugin.so" | awk '{ print $3 }') - <<<hetzner_plugin
}
# All that are linked, by cargo's own account, but ourselves and macros.
licenses_name_each_crate() {
    local crate
    cargo tree --locked --edges normal,no-proc-macro --prefix none --format '{p}' >"$work/crates" || return
    while read -r crate version _; do
        [ "$crate" = uwsgi-hetzner ] || grep -qE "(^|[ ,])$crate ${version#v}" "$work/$name/THIRD-PARTY-LICENSES" || { echo "$crate $version"; return 1; }
    done < <(sort -u "$work/crates")
}
is_the_same_again() { cp "$archive" "$work/first" && make dist && cmp "$work/first" "$archive"; }

find_cargo
expect 'dist: an archive is made' make dist
expect 'dist: it holds eight files' holds_what_it_should
expect 'dist: they are of nobody in particular' names_nobody
expect 'dist: SHA256SUMS has it, and verifies' sums_verify
tar -xzf "$archive" -C "$work"
expect 'dist: the plugin is the one that packaging/build.sh builds' cmp "$plugin" "$work/$name/hetzner_plugin.so"
if have man; then
    expect 'dist: its manual page is rendered without warnings' has_a_manual
else
    say 'NOT RUN dist: its manual page is rendered without warnings (there is no man: apt-get install man-db groff)'
fi
expect 'dist: it has at most 2.25 MiB' is_small
expect 'dist: it exports hetzner_plugin and nothing else' exports_one_symbol
expect 'dist: the texts are those that lie here' texts_are_ours
expect 'dist: the licenses of all crates are named' licenses_name_each_crate
expect 'dist: made again it is the same' is_the_same_again

# --- The unit and the ini -----------------------------------------------------------------------

instance_runs() { tests/instance.sh "$1" "$work/$name" "$work/$name/uwsgi-failover.service" "$work/$name/uwsgi.ini"; }

uwsgi=$root/target/uwsgi/2.0.31/uwsgi
[ -x "$uwsgi" ] || uwsgi=$(command -v uwsgi-core) || uwsgi=
if [ -n "$uwsgi" ]; then
    expect "instance: unit and ini of the archive work with $uwsgi" instance_runs "$uwsgi"
    # Even if it passed.
    sed -nE 's/^instance-test: (NOT RUN|exposure)/        &/p' "$work/output" >&2
else
    say 'NOT RUN instance: unit and ini of the archive (there is no uwsgi-core, nor the uWSGI that tests/setup.sh builds)'
fi

# --- Elsewhere ----------------------------------------------------------------------------------

# A tree of its own, which is no git repository.
tree=$work/tree
mkdir "$tree"
cp -R packaging Cargo.toml "$tree/"
cat >"$tree/CHANGELOG.md" <<'END'
# Changelog

## 1.1.0 (unreleased)

- Not yet.

## 1.0.0-rc.1 (2026-01-01)

- The candidate.

## 1.0.0 (2026-02-01)

- The release.

## 0.9.0

## 0.8.0

- An old one.
END

refuses_without_git() { refuses 'SOURCE_DATE_EPOCH' env -u SOURCE_DATE_EPOCH GIT_CEILING_DIRECTORIES="$work" "$tree/packaging/dist.sh" && grep -q '^fatal: ' "$work/refusal"; }
notes_are() { diff <("$tree/packaging/release-notes.sh" "$1") - <<<"$2"; }
notes() { "$tree/packaging/release-notes.sh" "$1"; }

expect "dist: without a commit's time it fails at once, with git's own words" refuses_without_git
expect 'notes: those of the version' notes_are 1.0.0 '- The release.'
expect 'notes: and not of what begins alike' notes_are 1.0.0-rc.1 '- The candidate.'
expect 'notes: the last one has its own' notes_are 0.8.0 '- An old one.'
expect 'notes: an unreleased version has none' refuses unreleased notes 1.1.0
expect 'notes: nor has one of which nothing is said' refuses 'says nothing' notes 0.9.0
expect 'notes: nor one that is not there' refuses "no '## 1.0'" notes 1.0

say "$passed passed, $failed failed"
[ "$failed" = 0 ]
