#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Looks for a seed of each planted bug (proto/base/planted.h), under which an invariant or a history's
# checker finds it, and writes them to planted.txt; or replays the seeds that are there, each with
# its bug, which must fail, and without, which must not.
#
#     sh tests/sim/plant.sh hunt [SEEDS [BUG...]]   SEEDS (400) tried per bug; all bugs
#     sh tests/sim/plant.sh replay
#
# Needs the build of the preset `planted` (its targets are in tests/run.sh).
#
# A change of the program or of the simulator may turn a run into another one, in which a recorded
# seed comes to nothing. The replay then looks through the next seeds, tells which one finds the bug
# now, and fails where none does.
set -u
cd "$(dirname "$0")/../.." || exit 1
sim=.build/planted/strait-sim
model=.build/planted/tests/unit/unit_replication_raft_model
scripts=.build/planted/tests/unit/unit_replication_raft_script
table=tests/sim/planted.txt
[ -x "$sim" ] || {
    echo "$sim is not built"
    exit 1
}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# holds SEED OPTIONS: without a bug.
holds() {
    # shellcheck disable=SC2086 # options are several words
    nice "$sim" --seed "$1" $2 >"$work/without" 2>&1
}

# try BUG FROM TO OPTIONS: prints "SEED FAILURE" of the first seed that fails with the bug, and not
# without.
try() {
    from=$2
    while [ "$from" -le "$3" ]; do
        # shellcheck disable=SC2086 # options are several words
        hit=$(nice "$sim" --bug "$1" --hunt --seeds "$from-$3" $4 | sed -n 's/^found //p')
        [ -n "$hit" ] || return
        holds "${hit%% *}" "$4" && {
            echo "$hit"
            return
        }
        from=$((${hit%% *} + 1))
    done
}

# seek BUG SEEDS: a line of the table, or nothing. A few seeds in each world first, as most bugs are
# plain in one of them.
seek() {
    step=$(($2 / 5))
    small=$((step < 8 ? step : 8))
    for range in "1 $small" "$((small + 1)) $step"; do
        first=${range% *}
        last=${range#* }
        [ "$first" -le "$last" ] || continue
        for options in "--servers 3" "--servers 1" "--servers 5" "--servers 3 --keep-log" \
            "--servers 5 --keep-log" "--servers 3 --aim" "--servers 3 --decay --churn --aim" \
            "--servers 5 --decay --churn --aim"; do
            found=$(try "$1" "$first" "$last" "$options")
            [ -n "$found" ] || continue
            echo "$1 ${found%% *} $options # ${found#* }"
            return 0
        done
    done
    return 1
}

# Which other test of this build fails with the bug; "nothing" where none does.
other() {
    for test in "$scripts" "$model"; do
        [ -x "$test" ] || continue
        STRAIT_PLANTED_BUG=$1 "$test" >/dev/null 2>&1 || {
            basename "$test"
            return
        }
    done
    echo nothing
}

hunt() {
    seeds=${1:-400}
    [ $# -eq 0 ] || shift
    touch "$table"
    for bug in ${*:-$("$sim" --bugs | sed 's/:.*//')}; do
        line=$(seek "$bug" "$seeds") || line="$bug - $(other "$bug") # not in $seeds seeds"
        echo "$line"
        grep -v -e "^$bug " -e '^#' "$table" >"$work/table"
        echo "$line" >>"$work/table"
        {
            echo "# Written by plant.sh: BUG SEED OPTIONS # what failed; or BUG - the other test that finds it."
            LC_ALL=C sort "$work/table"
        } >"$table"
    done
}

# replay_one BUG SEED OPTIONS
replay_one() {
    found=$(try "$1" "$2" "$2" "$3")
    seed=$2
    if [ -z "$found" ]; then
        found=$(try "$1" 1 60 "$3")
        seed=${found%% *}
        [ -n "$found" ] || {
            echo "$1: FAILED: neither seed $2 nor 1 to 60 finds it ($3)"
            return 1
        }
        echo "$1: the recorded seed $2 finds it no more, $seed does: run plant.sh hunt 400 $1"
    fi
    echo "$1: seed $seed $3: ${found#* }"
}

replay() {
    failed=0
    count=0
    while read -r bug seed options; do
        case "$bug" in '' | '#'*) continue ;; esac
        options=${options%%#*}
        if [ "$seed" != - ]; then
            replay_one "$bug" "$seed" "$options" || failed=1
            count=$((count + 1))
            continue
        fi
        case "$options" in
        nothing*) continue ;;
        esac
        test=.build/planted/tests/unit/${options%% *}
        if STRAIT_PLANTED_BUG=$bug "$test" >/dev/null 2>&1; then
            echo "$bug: FAILED: $test does not find it"
            failed=1
        else
            echo "$bug: $test"
        fi
    done <"$table"
    for test in "$scripts" "$model"; do
        "$test" >"$work/without" 2>&1 || {
            echo "$test: FAILED without a bug"
            cat "$work/without"
            failed=1
        }
    done
    echo "$count bugs found by their seeds in the simulator"
    [ "$count" -ge 26 ] || failed=1
    return $failed
}

command=${1:-replay}
[ $# -eq 0 ] || shift
case "$command" in
hunt) hunt "$@" ;;
replay) replay ;;
*)
    echo "usage: plant.sh hunt [SEEDS [BUG...]] | replay"
    exit 2
    ;;
esac
