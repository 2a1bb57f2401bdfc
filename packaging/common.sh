# Sourced by the scripts here: the directory they run in, and what they share.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
# Files are made for everybody to read, whatever the caller's umask.
umask 022

# The plugin as packaging/build.sh builds it: what is packed, installed and measured.
# shellcheck disable=SC2034 # used by those who source this
plugin=target/dist/hetzner_plugin.so

program=$(basename "$0" .sh)
say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() { printf '%s: ERROR %s\n' "$program" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# needs TOOL PACKAGE: the tool is there, or it is said in which Debian package it is
needs() { have "$1" || die "$1 was not found: apt-get install $2"; }

find_cargo() {
    have cargo || PATH="$HOME/.cargo/bin:$PATH"
    have cargo || die "cargo was not found; install Rust: https://rustup.rs"
}

# What Rust calls this machine. Told to build for it, cargo puts what it builds into a directory of that name,
# whatever the caller's own settings are.
host() { rustc -vV | sed -n 's/^host: //p'; }

# The version, which stands in Cargo.toml and nowhere else.
version() {
    local version
    version=$(sed -n 's/^version = "\([^"]*\)".*/\1/p' Cargo.toml | head -n 1)
    [ -n "$version" ] || die "Cargo.toml has no version"
    printf '%s\n' "$version"
}

# The time that packages bear: SOURCE_DATE_EPOCH, or that of the last commit, so that it is the same
# whenever and wherever a commit is packaged.
source_date_epoch() {
    if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
        printf '%s\n' "$SOURCE_DATE_EPOCH"
    else
        needs git git
        git log -1 --format=%ct ||
            die "git does not tell the time of the last commit: set SOURCE_DATE_EPOCH to the time that the package is to bear, in seconds"
    fi
}

# warn_if_dirty: packages are made of what lies here, committed or not.
warn_if_dirty() {
    local changed
    if changed=$(git status --porcelain 2>/dev/null) && [ -n "$changed" ]; then
        say "WARNING there are changes that are not committed: this package is of no commit"
    fi
}

# write_checksums: target/dist/SHA256SUMS, of the packages that lie beside it
write_checksums() {
    (
        cd target/dist
        shopt -s nullglob
        sha256sum -- *.tar.gz *.deb >SHA256SUMS.new
        mv SHA256SUMS.new SHA256SUMS
    )
}
