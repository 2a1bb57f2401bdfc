#!/usr/bin/env bash
# `make installs`: tests the plugin of packaging/build.sh in the uWSGIs that people install.
#
# In root directories with Debian 12 and 13 (tests/root.sh): Debian's own uwsgi-core, `pip install uwsgi` with and
# without OpenSSL's headers, and `pip install pyuwsgi`, as published, without OpenSSL, and built with it. A takeover
# succeeds where there is a Legion that a plugin can see; elsewhere the plugin says what is the matter.
set -euo pipefail
# shellcheck source=packaging/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../packaging/common.sh"
# shellcheck source=tests/root.sh
. tests/root.sh
program=installs
downloads=$root/target/pypi
uwsgi=uwsgi==2.0.31
pyuwsgi=pyuwsgi==2.0.30

find_cargo
if [ -z "${IN_NAMESPACES:-}" ]; then
    packaging/build.sh
    host=$(host)
    cargo build --quiet --locked -p testbed --bin robot --target "$host" --target-dir target
    # The root directories get these from here, because pip's settings and certificates are the caller's.
    python3 -m pip --version >/dev/null || die 'pip was not found: apt-get install python3-pip'
    download() { python3 -m pip --disable-pip-version-check --quiet download --no-deps --dest "$downloads" "$@"; }
    download --no-binary uwsgi $uwsgi
    download --no-binary pyuwsgi $pyuwsgi
    for python in 3.11 3.13; do # of Debian 12 and 13
        download --only-binary pyuwsgi --python-version $python --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 $pyuwsgi
    done
fi
enter_namespaces "$@"
robot=$root/target/$(host)/debug/robot
mkdir "$TMPDIR/plugins"
cp "$plugin" "$TMPDIR/plugins/"
passed=0

# takes_over WHAT UWSGI...: checks that the plugin takes over in the uWSGI of the root directory
takes_over() {
    local what=$1
    shift
    say "$what: $(in_root "$@" --version)"
    tests/takeover.sh "$robot" chroot "$tree" "$@" --plugins-dir "$TMPDIR/plugins" >"$TMPDIR/takeover.log" 2>&1 ||
        { cat "$TMPDIR/takeover.log" >&2; die "$what: the takeover failed"; }
    passed=$((passed + 1))
}

# refuses WHAT REASON UWSGI...: checks that the plugin ends that uWSGI, for that reason
refuses() {
    local what=$1 reason=$2 status=0
    shift 2
    in_root timeout --signal=KILL 60 "$@" --plugins-dir "$TMPDIR/plugins" --plugin hetzner --master >"$TMPDIR/refusal.log" 2>&1 || status=$?
    { [ $status = 1 ] && grep -qF "[hetzner] ERROR this uWSGI $reason" "$TMPDIR/refusal.log"; } ||
        { cat "$TMPDIR/refusal.log" >&2; die "$what: uWSGI exited with status $status, and not because it $reason"; }
    say "$what: $(grep -F '[hetzner] ERROR' "$TMPDIR/refusal.log")"
    passed=$((passed + 1))
}

# pip_install NAME PACKAGE [OPTION...]: installs the package into a new virtual environment, $TMPDIR/NAME
pip_install() {
    local name=$1 package=$2
    shift 2
    { in_root python3 -m venv --system-site-packages "$TMPDIR/$name" &&
        in_root "$TMPDIR/$name/bin/pip" --quiet install --no-cache-dir --no-index --find-links "$downloads" --no-build-isolation "$@" "$package"; } \
        >"$TMPDIR/pip.log" 2>&1 || { tail -n 30 "$TMPDIR/pip.log" >&2; die "pip could not install $package"; }
}

for debian in 12:bookworm 13:trixie; do
    suite=${debian#*:} debian=${debian%:*}
    make_root debian-$debian-pip "$suite" true uwsgi-core gcc libc6-dev python3-dev python3-venv python3-pip python3-setuptools python3-wheel
    here="Debian $debian"
    takes_over "$here, uwsgi-core" /usr/bin/uwsgi-core

    # An earlier run may have installed it.
    in_root apt-get -qq purge -y libssl-dev >/dev/null
    pip_install plain-$debian $uwsgi --no-binary uwsgi
    refuses "$here, pip install uwsgi without libssl-dev" 'has no Legion subsystem: it was built without OpenSSL' "$TMPDIR/plain-$debian/bin/uwsgi"
    pip_install wheel-$debian $pyuwsgi --only-binary pyuwsgi
    refuses "$here, pip install pyuwsgi" 'hides its functions from plugins' "$TMPDIR/wheel-$debian/bin/uwsgi"

    in_root apt-get -qq install -y --no-install-recommends libssl-dev >/dev/null 2>&1
    pip_install ssl-$debian $uwsgi --no-binary uwsgi
    takes_over "$here, pip install uwsgi with libssl-dev" "$TMPDIR/ssl-$debian/bin/uwsgi"
    pip_install built-$debian $pyuwsgi --no-binary pyuwsgi
    in_root "$TMPDIR/built-$debian/bin/uwsgi" --help | grep -q -- --legion-lord || die "$here: pyuwsgi was built without Legion"
    refuses "$here, pyuwsgi built with OpenSSL" 'hides its functions from plugins' "$TMPDIR/built-$debian/bin/uwsgi"
done
say "passed: $passed uWSGIs"
