#!/usr/bin/env bash
# `make nemesis-mutants`: shows that random faults find what they are for. The plugin is built without one of
# its protections at a time (tests/mutants/), and some of 50 rounds must fail.
#
#   tests/nemesis-mutants.sh [MUTANT ...]     all of them by default
#   tests/nemesis-mutants.sh --check          says whether their patches apply
#
# SEED is that of the first round, and NODES is 3 or 5. A mutant whose name begins with the name of a service,
# such as alias-others, has rounds of that service.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ROUNDS=50 # at most, eight at a time
seed=${SEED:-1} nodes=${NODES:-3}

say() { printf 'nemesis-mutants: %s\n' "$*" >&2; }

check() {
    local patch
    for patch in tests/mutants/*.patch; do
        git apply --check -p0 "$patch" || { say "$patch does not apply any more"; return 1; }
    done
}

check
[ "${1:-}" != --check ] || exit 0

command -v cargo >/dev/null || PATH="$HOME/.cargo/bin:$PATH"
if [ $# = 0 ]; then
    set -- tests/mutants/*.patch
    set -- "${@##*/}"
    set -- "${@%.patch}"
fi

tests/setup.sh
cargo build --quiet --locked -p testbed --bin nemesis

# Builds target/mutants/NAME/hetzner_plugin.so.
build() {
    local work=target/mutants/$1 source=target/mutants/source
    rm -rf "$work" "$source"
    mkdir -p "$work" "$source"
    git ls-files -z -- src include build.rs Cargo.toml Cargo.lock tests/testbed fuzz/corpus |
        xargs -0 cp --parents -t "$source"
    git apply -p0 --directory="$source" "tests/mutants/$1.patch"
    cargo rustc --quiet --release --lib --crate-type cdylib --locked \
        --manifest-path "$source/Cargo.toml" --target-dir target/mutants/target 2>"$work/build.log" ||
        { cat "$work/build.log" >&2; exit 1; }
    cp target/mutants/target/release/libhetzner_plugin.so "$work/hetzner_plugin.so"
}

# Prints how many rounds it took until one failed.
rounds_until_red() {
    local done=0 log=target/mutants/$1/rounds.log service
    case $1 in
        alias-* | floating-*) service=${1%%-*} ;;
        *) service=robot ;;
    esac
    : >"$log"
    while [ "$done" -lt "$ROUNDS" ]; do
        local now=$((ROUNDS - done < 8 ? ROUNDS - done : 8)) result=0
        "${CARGO_TARGET_DIR:-target}/debug/nemesis" target/uwsgi/2.0.31/uwsgi "target/mutants/$1" \
            "$now" "$nodes" "$((seed + done))" 8 "$service" >>"$log" 2>&1 || result=$?
        done=$((done + now))
        [ "$result" = 0 ] || { echo "$done"; return; }
    done
    return 1
}

all_red=0
for mutant in "$@"; do
    say "$mutant: $(head -n 1 "tests/mutants/$mutant.patch")"
    build "$mutant"
    if rounds=$(rounds_until_red "$mutant"); then
        say "$mutant: red within $rounds rounds: $(grep -m 1 FAILED "target/mutants/$mutant/rounds.log")"
    else
        say "$mutant: NOT FOUND in $ROUNDS rounds"
        all_red=1
    fi
done
exit "$all_red"
