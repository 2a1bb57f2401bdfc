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
    trap 'remove_control_group; rm -rf "$TMPDIR"' EXIT
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
        # An installer would write it.
        printf '127.0.0.1 localhost\n::1 localhost\n' >"$tree/etc/hosts"
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

# boot: starts systemd there, as process 1 of further namespaces with a control group of their own. It ends with this
# script.
boot() {
    local group
    group=$(control_group) || die 'NOT RUN: systemd needs control groups of version 2'
    # shellcheck disable=SC2016 # the inner shell expands it
    CONTROL_GROUP=$group TREE=$tree unshare --mount --pid --ipc --uts --fork --kill-child bash -ec '
        mkdir "$CONTROL_GROUP"
        echo 0 >"$CONTROL_GROUP/cgroup.procs"
        exec unshare --cgroup bash -ec "$0"
    ' '
        umount --recursive "$TREE/proc" "$TREE/dev"
        mount --rbind "$TREE" "$TREE"
        cd "$TREE"
        mount -t proc proc proc
        # Settings of this kernel and its network are not those of the new system alone.
        mount --bind -o ro proc/sys proc/sys
        mount -t sysfs -o ro sysfs sys
        mount -t cgroup2 cgroup2 sys/fs/cgroup
        mount -t tmpfs -o mode=755 tmpfs run
        mount -t tmpfs -o mode=755 tmpfs dev
        mkdir dev/pts dev/shm
        mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
        mount -t tmpfs -o mode=1777 tmpfs dev/shm
        ln -s pts/ptmx dev/ptmx
        for device in null zero full random urandom tty; do
            touch dev/$device
            mount --bind /dev/$device dev/$device
        done
        mkdir -p mnt
        pivot_root . mnt
        umount --lazy mnt
        # As on a real system. In a container, systemd leaves this to what has started it.
        mount --make-rshared /
        exec env --ignore-environment container=namespaces /lib/systemd/systemd
    ' </dev/null >"$TMPDIR/boot.log" 2>&1 &
    booted=$!
    local deadline=$((SECONDS + 60)) state=
    until [ "$state" = running ] || [ "$state" = degraded ]; do
        kill -0 "$booted" 2>/dev/null && [ $SECONDS -lt $deadline ] || { cat "$TMPDIR/boot.log" >&2; die "NOT RUN: systemd did not start here (${state:-no answer})"; }
        sleep 0.2
        state=$(in_booted systemctl is-system-running 2>/dev/null) || true
    done
}

control_group() {
    local groups
    groups=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET) && printf '%s\n' "$groups/uwsgi-hetzner-${TMPDIR##*/}"
}

# remove_control_group: removes what boot has left of it, once its processes have ended
remove_control_group() {
    local group deadline=$((SECONDS + 10))
    group=$(control_group) || return 0
    while [ -d "$group" ] && [ $SECONDS -lt $deadline ]; do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
}

# in_booted COMMAND...: runs it in the system that boot has started
in_booted() {
    local init
    init=$(pgrep --parent "$booted") || return
    nsenter --target "$init" --mount --pid --ipc --uts --cgroup env --ignore-environment PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" CARGO_NET_OFFLINE=true "$@"
}
