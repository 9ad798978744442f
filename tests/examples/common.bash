# SPDX-License-Identifier: MIT
# What the tests of the examples share: a daemon of their own, its baseline, waiting with a bound.
# To be sourced; $1 is the folder of the programs.
set -euo pipefail

bin=$1
handoff=$bin/xpurt-handoff
folder=$(mktemp -d "${TMPDIR:-/tmp}/xpurt-example-XXXXXX")
export XPURT_SOCKET=$folder/xpurtd.sock
daemon=

trap finish EXIT
trap 'exit 1' INT TERM HUP

finish() {
    local status=$? child
    trap - EXIT
    for child in $(jobs -p); do
        kill -KILL "$child" 2> /dev/null || true
    done
    if ((status)) && [[ -s $folder/log ]]; then
        echo "---- the daemon:"
        tail -n 20 "$folder/log"
    fi
    rm -rf "$folder"
    exit "$status"
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# Wait until a command succeeds; 20 s at most.
await() { # COMMAND...
    local deadline=$((SECONDS + 20))
    until "$@"; do
        ((SECONDS < deadline)) || fail "waited in vain for: $*"
        sleep 0.01
    done
}

expect_text() { # FILE PATTERN
    grep -q -e "$2" "$1" || fail "no '$2' in: $(cat "$1")"
}

expect_no_text() { # FILE PATTERN
    ! grep -q -e "$2" "$1" || fail "'$2' in: $(cat "$1")"
}

# ---- the daemon

daemon_start() {
    : > "$folder/log"
    "$bin/xpurtd" --config /dev/null --device soft --socket "$XPURT_SOCKET" 2>> "$folder/log" &
    daemon=$!
    await daemon_decided
    grep -q 'ready on' "$folder/log" || fail "the daemon did not start"
    "$bin/test-handoff-counters" > "$folder/baseline"
    # What the driver made for its first users it keeps for the next ones.
    warm_up
    await nothing_in_use
    sleep 0.3                           # until it has closed what it had for this one
    baseline_descriptors=$(descriptors)
}

nothing_in_use() {
    "$bin/test-handoff-counters" > "$folder/usage"
    cmp -s "$folder/baseline" "$folder/usage"
}

warm_up() {
    "$handoff" --input "$0" --output "$folder/warm" --pairs 8 > /dev/null
    rm "$folder"/warm.*
}

daemon_decided() {
    grep -q 'ready on' "$folder/log" || ! kill -0 "$daemon" 2> /dev/null
}

descriptors() {
    find "/proc/$daemon/fd" -mindepth 1 | wc -l
}

# Does the daemon have in use what it had at its start? Descriptors first: asking takes some.
at_baseline() {
    used_descriptors=$(descriptors)
    nothing_in_use && ((used_descriptors <= baseline_descriptors))
}

expect_baseline() {
    local deadline=$((SECONDS + 20))
    until at_baseline; do
        ((SECONDS < deadline)) ||
            fail "the daemon keeps something: $used_descriptors descriptors instead of" \
                "$baseline_descriptors, $(diff "$folder/baseline" "$folder/usage")"
        sleep 0.05
    done
}

# It must have lived until now, and must end well.
daemon_stop() {
    local status=0
    expect_baseline
    kill "$daemon"
    wait "$daemon" || status=$?
    ((status == 0)) || fail "the daemon ended with status $status"
}

# ---- processes

# The process of a name, such as "producer 0", that a command started.
child_of() { # PID NAME
    local stat
    for stat in $(grep -l "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status 2> /dev/null); do
        if [[ $(cat "${stat%/status}/comm" 2> /dev/null) == "$2" ]]; then
            stat=${stat%/status}
            echo "${stat#/proc/}"
            return 0
        fi
    done
    return 1
}

at_least() { # FILE BYTES
    [[ -e $1 ]] && (($(stat -c %s "$1") >= $2))
}
