# Sourced by tests that need a system of their own: Debian in a directory below target/roots, entered with
# chroot. They run in namespaces of their own, so that their mounts and processes end with them, however that
# happens. They need root and debootstrap.
# shellcheck shell=bash
# shellcheck disable=SC2154 # packaging/common.sh sets `root`

# enter_namespaces "$@": runs this script again, with these arguments, in new mount and PID namespaces, and with
# a TMPDIR of its own, which is removed at the end. What follows in the script runs there only.
enter_namespaces() {
    if [ -n "${IN_NAMESPACES:-}" ]; then
        unset IN_NAMESPACES
        # As process 1, it gets only the signals that it handles.
        trap 'exit 130' INT
        return
    fi
    [ "$(id -u)" = 0 ] || die 'NOT RUN: this test mounts file systems, so it needs root'
    needs debootstrap debootstrap
    needs unshare util-linux
    [ -r /usr/share/keyrings/debian-archive-keyring.gpg ] ||
        die "the keys of Debian's archive were not found: apt-get install debian-archive-keyring"
    local outer status=0
    TMPDIR=$(mktemp -d)
    export TMPDIR
    chmod 755 "$TMPDIR"
    trap 'rm -rf "$TMPDIR"' EXIT
    # unshare ignores signals while it waits, so it is killed, and everything in the namespaces with it.
    trap 'kill -KILL "$outer"; exit 129' HUP
    trap 'kill -KILL "$outer"; exit 130' INT
    trap 'kill -KILL "$outer"; exit 143' TERM
    IN_NAMESPACES=yes unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@" &
    outer=$!
    wait "$outer" || status=$?
    exit "$status"
}

# make_root NAME SUITE PREPARE PACKAGE...: sets `tree` to a directory with that release of Debian and these packages;
# PREPARE is a command that is run there first. A directory of an earlier run is used again.
make_root() {
    tree=$root/target/roots/$1
    local suite=$2 prepare=$3 log=$root/target/roots/$1.log
    shift 3
    if [ "$(cat "$tree/made-for" 2>/dev/null)" != "$suite $prepare $*" ]; then
        say "making a root directory with Debian $suite (a minute, once)"
        rm -rf "$tree"
        mkdir -p "$tree"
        # DEBIAN_MIRROR may name another mirror than debootstrap's own.
            # shellcheck disable=SC2086 # it may be empty
        debootstrap --variant=minbase "$suite" "$tree" ${DEBIAN_MIRROR:-} >"$log" 2>&1 ||
            { tail "$log" >&2; die "debootstrap failed; see $log"; }
        mount_root
        {
            in_root sh -ec "$prepare" && in_root apt-get -qq update &&
                in_root apt-get -qq install -y --no-install-recommends "$@"
        } >>"$log" 2>&1 || { tail "$log" >&2; die "apt-get failed; see $log"; }
        printf '%s\n' "$suite $prepare $*" >"$tree/made-for"
    else
        mount_root
    fi
}

# mount_root: mounts what programs expect, and this repository, its compiled crates' sources and TMPDIR at their own
# paths. Cargo is offline there, because the crates are already here.
mount_root() {
    mount -t proc proc "$tree/proc"
    mount --rbind /dev "$tree/dev"
    bind "$root"
    bind "$TMPDIR"
    if have cargo; then bind "${CARGO_HOME:-$HOME/.cargo}/registry"; fi
}
bind() {
    mkdir -p "$1" "$tree$1"
    mount --bind "$1" "$tree$1"
}

# in_root COMMAND...: runs it there, in the same directory
# shellcheck disable=SC2016 # the inner shell expands it
in_root() {
    env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        TMPDIR="$TMPDIR" CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" CARGO_NET_OFFLINE=true \
        chroot "$tree" sh -c 'cd "$0" && exec "$@"' "$root" "$@"
}
