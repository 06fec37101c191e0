#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Looks for seeds of each planted bug (proto/base/planted.h), under which an invariant or a history's
# checker finds it, and writes them to planted.txt; or replays what is there: each bug must be found
# by one of its seeds, which must hold without the bug.
#
#     sh tests/sim/plant.sh hunt [SEEDS [BUG...]]   SEEDS (400) tried per bug; all bugs
#     sh tests/sim/plant.sh replay
#
# Needs the build of the preset `planted` (its targets are in tests/run.sh).
#
# Any change of the program or of the simulator may turn a seed into another run, in which it comes
# to nothing. So a bug is recorded with as many seeds as it takes for one of them to find it all but
# surely (e^-9), whatever they come to be, by how often it was found when it was hunted; the first is
# the one that found it then, and as long as nothing has changed it is the only one that is run.
set -u
cd "$(dirname "$0")/../.." || exit 1
sim=.build/planted/strait-sim
model=.build/planted/tests/unit/unit_replication_raft_model
scripts=.build/planted/tests/unit/unit_replication_raft_script
table=tests/sim/planted.txt
width_max=120 # seeds of a bug
least=40      # bugs that seeds find
least_two=12  # of these, of two regions
[ -x "$sim" ] || {
    echo "$sim is not built"
    exit 1
}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# holds SEED OPTIONS: without a bug.
holds() {
    # shellcheck disable=SC2086 # options are several words
    nice "$sim" --seed "$1" $2 >"$work/without.$3" 2>&1 || {
        cat "$work/without.$3" >&2
        return 1
    }
}

# try BUG FROM TO OPTIONS [WHO]: prints "SEED FAILURE" of the first seed that fails with the bug, and
# not without. WHO keeps apart what runs at the same time.
try() {
    from=$2
    while [ "$from" -le "$3" ]; do
        # shellcheck disable=SC2086 # options are several words
        hit=$(nice "$sim" --bug "$1" --hunt --seeds "$from-$3" $4 | sed -n 's/^found //p')
        [ -n "$hit" ] || return
        holds "${hit%% *}" "$4" "${5:-one}" && {
            echo "$hit"
            return
        }
        from=$((${hit%% *} + 1))
    done
}

# rate BUG SEEDS OPTIONS: how often it is found there: "TRIED HITS SEED FAILURE", by the first few
# hits, or nothing.
rate() {
    hits=0
    at=0
    while [ "$hits" -lt 4 ] && [ "$at" -lt "$2" ]; do
        more=$(try "$1" $((at + 1)) "$2" "$3")
        [ -n "$more" ] || {
            at=$2
            break
        }
        at=${more%% *}
        [ "$hits" -gt 0 ] || first=$more
        hits=$((hits + 1))
    done
    [ "$hits" -eq 0 ] || echo "$at $hits $first"
}

# seek BUG SEEDS: a line of the table, or nothing. Most bugs are plain in the first world in which
# they are found at all; of those that are not, the world that finds them most often is taken.
seek() {
    best_tried=0
    best_hits=0
    for options in "--servers 3" "--servers 1" "--servers 5" "--servers 3 --keep-log" \
        "--servers 5 --keep-log" "--servers 3 --aim" "--servers 3 --decay --churn --aim" \
        "--servers 5 --decay --churn --aim" "--servers 3 --upgrade" "--regions"; do
        case "$1 $options" in
        region_*" --regions" | lease_*" --regions") ;;
        region_* | lease_* | *" --regions") continue ;; # those of regions need two
        esac
        rated=$(rate "$1" $(($2 / 8)) "$options")
        [ -n "$rated" ] || continue
        tried=${rated%% *}
        rated=${rated#* }
        hits=${rated%% *}
        [ $((hits * best_tried)) -gt $((best_hits * tried)) ] || [ "$best_hits" -eq 0 ] || continue
        best_tried=$tried
        best_hits=$hits
        best_options=$options
        best=${rated#* }
        [ $((hits * 4)) -lt "$tried" ] || break
    done
    [ "$best_hits" -gt 0 ] || return 1
    width=$(((9 * best_tried + best_hits - 1) / best_hits))
    [ "$width" -le "$width_max" ] || width=$width_max
    echo "$1 ${best%% *}-$((${best%% *} + width - 1)) $best_options # ${best#* }"
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
            echo "# Written by plant.sh: BUG SEEDS OPTIONS # what failed; or BUG - the other test that finds it."
            LC_ALL=C sort "$work/table"
        } >"$table"
    done
}

# replay_one BUG FIRST-LAST OPTIONS WHO
replay_one() {
    first=${2%-*}
    found=$(try "$1" "$first" "${2#*-}" "$3" "$4")
    [ -n "$found" ] || {
        echo "$1: FAILED: none of the seeds $2 finds it ($3)"
        return 1
    }
    [ "${found%% *}" -eq "$first" ] || echo "$1: seed $first finds it no more, ${found%% *} does"
    echo "$1: seed ${found%% *} $3: ${found#* }"
}

# replay_other BUG TEST
replay_other() {
    if STRAIT_PLANTED_BUG=$1 ".build/planted/tests/unit/$2" >/dev/null 2>&1; then
        echo "$1: FAILED: $2 does not find it"
        return 1
    fi
    echo "$1: $2"
}

# replay_half WHO: every second line of the table, from the first or the second on.
replay_half() {
    half_failed=0
    line=0
    while read -r bug seeds options; do
        case "$bug" in '' | '#'*) continue ;; esac
        line=$((line + 1))
        [ $((line % 2)) -eq "$1" ] || continue
        options=${options%%#*}
        if [ "$seeds" != - ]; then
            replay_one "$bug" "$seeds" "$options" "$1" || half_failed=1
        elif [ "${options%% *}" != nothing ]; then
            replay_other "$bug" "${options%% *}" || half_failed=1
        fi
    done <"$table"
    return $half_failed
}

replay() {
    failed=0
    replay_half 0 >"$work/even" 2>&1 &
    even=$!
    replay_half 1 >"$work/odd" 2>&1 || failed=1
    wait "$even" || failed=1
    LC_ALL=C sort "$work/even" "$work/odd"
    for test in "$scripts" "$model"; do
        "$test" >"$work/without" 2>&1 || {
            echo "$test: FAILED without a bug"
            cat "$work/without"
            failed=1
        }
    done
    count=$(cat "$work/even" "$work/odd" | grep -c -E '^[a-z0-9_]+: seed [0-9]+ --')
    echo "$count bugs found by their seeds in the simulator"
    count_two=$(cat "$work/even" "$work/odd" | grep -c -E '^(region|lease)_[a-z0-9_]+: seed [0-9]+ --')
    echo "$count_two of them are bugs of two regions"
    [ "$count" -ge "$least" ] && [ "$count_two" -ge "$least_two" ] || failed=1
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
