#!/usr/bin/env bash
# Installs what `make demo` and `make test` need: tools, headers, and uWSGI.
#
#   tests/setup.sh                      the tools, as root also ip, and uWSGI 2.0.31 as target/uwsgi/2.0.31/uwsgi
#   tests/setup.sh test                 also valgrind, curl, ip, jq and nft, and the distribution's uWSGI (uwsgi-core) if apt has it
#   tests/setup.sh uwsgi VERSION ...    the tools, and these versions of tests/uwsgi-versions.txt instead
#   tests/setup.sh headers              the tools, and target/uwsgi/VERSION/uwsgi.h of every version in that file
#
# Missing Debian or Ubuntu packages are installed with apt-get, as root or through sudo. A second run
# does nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

DEFAULT_VERSION=2.0.31
VERSIONS_FILE=tests/uwsgi-versions.txt
RUST_MINIMUM=1.85

say() { printf 'setup: %s\n' "$*" >&2; }
die() { printf 'setup: ERROR %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- Rust -------------------------------------------------------------------------------------

check_rust() {
    have cargo || PATH="$HOME/.cargo/bin:$PATH"
    local advice="install Rust $RUST_MINIMUM or newer: https://rustup.rs, or on Debian 13 and later: apt-get install cargo"
    have cargo || die "cargo was not found; $advice"
    local found
    found=$(rustc --version) || die "rustc cannot be run; $advice"
    found=${found#rustc } found=${found%% *} # "rustc 1.85.0 (4d91de4e4 2025-02-17)"
    local major=${found%%.*} minor=${found#*.}
    minor=${minor%%.*}
    ((major > 1 || minor >= ${RUST_MINIMUM#*.})) || die "rustc is $found, which is too old; $advice"
}

# --- Debian packages --------------------------------------------------------------------------

read -ra compiler <<<"${CC:-gcc}"

# Prints the missing Debian packages, one per line.
missing_packages() {
    have "${compiler[0]}" && have cc || echo gcc
    compiles '#include <stdlib.h>' || echo libc6-dev
    compiles '#include <openssl/ssl.h>' || echo libssl-dev
    if [ -n "$with_distribution" ] || [ "$(id -u)" = 0 ]; then # as root, each server of the demo has a namespace
        have ip || echo iproute2
    fi
    [ -z "$with_distribution" ] || have valgrind || echo valgrind
    if [ -n "$with_distribution" ]; then # the commands in the documents are run with these
        have curl || echo curl
        have jq || echo jq
        [ -x /usr/sbin/nft ] || have nft || echo nftables # only root has it in the PATH
    fi
    if ! have python3; then
        printf '%s\n' python3 python3-pip
    elif [ -n "$need_pip" ]; then
        pip_python >/dev/null || echo python3-pip
    fi
}

compiles() { "${compiler[@]}" -E -xc -o /dev/null - <<<"$1" 2>/dev/null; }

# Prints a Python that has pip: the first one in the PATH, or the system's.
pip_python() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import pip' 2>/dev/null; then echo "$python"; return; fi
    done
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

can_be_root() { [ "$(id -u)" = 0 ] || have sudo; }

apt_offers() { [[ $(LC_ALL=C apt-cache policy "$1") =~ Candidate:\ [^\(] ]]; }

apt_install() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    local log=target/setup-apt.log
    mkdir -p target
    say "installing with apt-get: $*"
    if ! as_root "${apt[@]}" install -y --no-install-recommends "$@" >"$log" 2>&1; then
        say "apt-get failed; running apt-get update and trying again"
        { as_root "${apt[@]}" update && as_root "${apt[@]}" install -y --no-install-recommends "$@"; } >"$log" 2>&1 || {
            tail -n 20 "$log" >&2
            die "apt-get could not install: $*"
        }
    fi
}

install_tools() {
    local missing
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    [ -z "${CC:-}" ] || have "${compiler[0]}" || die "CC is '$CC', which was not found"
    have apt-get || die "packages are missing; install your system's equivalents of these Debian packages: ${missing[*]}"
    can_be_root || die "packages are missing; run as root: apt-get install --no-install-recommends ${missing[*]}"
    apt_install "${missing[@]}"
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -eq 0 ] || die "installed, but still not found: ${missing[*]}"
}

install_distribution_uwsgi() {
    [ ! -x /usr/bin/uwsgi-core ] || return 0
    have apt-get || return 0
    if ! can_be_root; then
        say "the distribution's uWSGI is not installed, and installing it needs root: its tests will be skipped"
        return 0
    fi
    if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
        say "running apt-get update"
        as_root apt-get -qq update
    fi
    if apt_offers uwsgi-core; then apt_install uwsgi-core; fi
}

# Installs OpenSSL's old ciphers, which are in a separate package since Debian 13.
install_legacy_provider() {
    ! compgen -G '/usr/lib/*/ossl-modules/legacy.so' >/dev/null || return 0
    have apt-get && can_be_root || return 0
    if apt_offers openssl-provider-legacy; then apt_install openssl-provider-legacy; fi
}

# --- uWSGI ------------------------------------------------------------------------------------

# Both functions fill target/uwsgi/VERSION/, including the log of the build, completely or not at all.

# build_uwsgi VERSION: builds `uwsgi`, and copies its header `uwsgi.h`
build_uwsgi() {
    [ ! -x "target/uwsgi/$1/uwsgi" ] || return 0
    mkdir -p target/uwsgi
    (
        flock 9 # another run may be building it at the moment
        [ ! -x "target/uwsgi/$1/uwsgi" ] || exit 0
        fetch_source "$1"
        say "building uWSGI $1 (about 15 seconds)"
        case $1 in 2.0.? | 2.0.1[0-4]) tests/port-old-uwsgi.sh "$work/source" ;; esac
        # Only the core. The Legion needs OpenSSL; the other libraries are not used.
        (cd "$work/source" &&
            UWSGI_PROFILE_OVERRIDE='ssl=true;xml=false;json=false;pcre=false;embedded_plugins=corerouter,http' python3 uwsgiconfig.py --build core
        ) >>"$work/result/build.log" 2>&1 || build_failed "uWSGI $1 could not be built"
        cp "$work/source/uwsgi" "$work/source/uwsgi.h" "$work/result/"
        finish "$1"
    ) 9>target/uwsgi/.lock
}

# fetch_header VERSION: fetches only `uwsgi.h`
fetch_header() {
    [ ! -f "target/uwsgi/$1/uwsgi.h" ] || return 0
    mkdir -p target/uwsgi
    (
        flock 9
        [ ! -f "target/uwsgi/$1/uwsgi.h" ] || exit 0
        fetch_source "$1"
        cp "$work/source/uwsgi.h" "$work/result/"
        finish "$1"
    ) 9>target/uwsgi/.lock
}

# fetch_source VERSION: downloads the source package, checks its hash, and unpacks it into $work/source
fetch_source() {
    local sha256
    sha256=$(awk -v version="$1" '$1 == version { print $2 }' "$VERSIONS_FILE")
    [ -n "$sha256" ] || die "uWSGI $1 is not listed in $VERSIONS_FILE"
    work=target/uwsgi/.building-$1
    rm -rf "$work"
    mkdir -p "$work/result" "$work/source"
    say "downloading the source of uWSGI $1"
    printf 'uwsgi==%s --hash=sha256:%s\n' "$1" "$sha256" >"$work/requirements.txt"
    "$(pip_python)" -m pip --disable-pip-version-check download --require-hashes --no-binary uwsgi --no-deps \
        --dest "$work" -r "$work/requirements.txt" >"$work/result/build.log" 2>&1 ||
        build_failed "uWSGI $1 could not be downloaded"
    tar -xzf "$work"/[uU][wW][sS][gG][iI]-"$1".tar.gz -C "$work/source" --strip-components=1
}

# finish VERSION: moves the result into place
finish() {
    rm -rf "target/uwsgi/${1:?}"
    mv "$work/result" "target/uwsgi/$1"
    rm -rf "$work"
}

# build_failed REASON: shows the end of the log, and exits
build_failed() {
    tail -n 30 "$work/result/build.log" >&2
    die "$1; the whole log is $work/result/build.log"
}

# ----------------------------------------------------------------------------------------------

prepare=build_uwsgi result=uwsgi
versions=("$DEFAULT_VERSION")
with_distribution=
case ${1:-} in
    '') ;;
    test) with_distribution=yes ;;
    uwsgi)
        shift
        [ $# -gt 0 ] || die "usage: tests/setup.sh uwsgi VERSION ..."
        versions=("$@")
        ;;
    headers)
        prepare=fetch_header result=uwsgi.h
        mapfile -t versions < <(awk '{ print $1 }' "$VERSIONS_FILE")
        ;;
    *) die "unknown argument '$1'; usage: tests/setup.sh [test | uwsgi VERSION ... | headers]" ;;
esac

need_pip= # set if something must be downloaded
for version in "${versions[@]}"; do
    [ -e "target/uwsgi/$version/$result" ] || need_pip=yes
done

check_rust
install_tools
for version in "${versions[@]}"; do "$prepare" "$version"; done
if [ -n "$with_distribution" ]; then
    install_distribution_uwsgi
    install_legacy_provider
fi
