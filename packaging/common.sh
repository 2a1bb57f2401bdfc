# Sourced by other scripts: changes to the root of the repository, and defines what they share.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
# Created files are readable for everybody, whatever the caller's umask.
umask 022

# The plugin that packaging/build.sh builds: for this processor, or for RUST_TARGET, which is Rust's name for a
# platform, such as aarch64-unknown-linux-gnu.
# shellcheck disable=SC2034 # the sourcing scripts use it
plugin=target/dist/${RUST_TARGET:+$RUST_TARGET/}hetzner_plugin.so

program=$(basename "$0" .sh)
say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() { printf '%s: ERROR %s\n' "$program" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# needs TOOL PACKAGE: exits if the tool is missing, and names the Debian package that contains it
needs() { have "$1" || die "$1 was not found: apt-get install $2"; }

find_cargo() {
    have cargo || PATH="$HOME/.cargo/bin:$PATH"
    have cargo || die "cargo was not found; install Rust: https://rustup.rs"
}

# Prints Rust's name for this platform. With `--target` and this name, cargo builds in a directory with this
# name, whatever the caller's settings are.
host() { rustc -vV | sed -n 's/^host: //p'; }

# Prints Rust's name for the platform that is built for.
target() { if [ -n "${RUST_TARGET:-}" ]; then printf '%s\n' "$RUST_TARGET"; else host; fi; }

# Prints GNU's name for it, which is that of Debian's cross compilers.
gnu_target() { target | sed 's/-unknown-/-/'; }

# Prints the version, which is only in Cargo.toml.
version() {
    local version
    version=$(sed -n 's/^version = "\([^"]*\)".*/\1/p' Cargo.toml | head -n 1)
    [ -n "$version" ] || die "Cargo.toml has no version"
    printf '%s\n' "$version"
}

# Prints the time for the files in a package: SOURCE_DATE_EPOCH, or the time of the last commit, so that all
# packages of one commit are identical.
source_date_epoch() {
    if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
        printf '%s\n' "$SOURCE_DATE_EPOCH"
    else
        needs git git
        git log -1 --format=%ct ||
            die "could not get the time of the last commit from git: set SOURCE_DATE_EPOCH to a time in seconds for the files in the package"
    fi
}

# warn_if_dirty: warns of uncommitted changes, because packages are built from the working tree
warn_if_dirty() {
    local changed
    if changed=$(git status --porcelain 2>/dev/null) && [ -n "$changed" ]; then
        say "WARNING there are uncommitted changes: this package does not correspond to a commit"
    fi
}

# write_checksums: writes target/dist/SHA256SUMS, for the packages in that directory
write_checksums() {
    (
        cd target/dist
        shopt -s nullglob
        sha256sum -- *.tar.gz *.deb *.cdx.json >SHA256SUMS.new
        mv SHA256SUMS.new SHA256SUMS
    )
}
