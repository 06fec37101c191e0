#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the simulator over many seeds: half of them fixed, half drawn from the commit, so that each
# change is tried on ground that no other was; then those that once failed. Two runs at a time: of
# 1,000 seeds of one region, and 400 of two.
#
# The fixed ones and those that once failed decide the exit status. What a drawn one finds is most
# often older than the commit: it is told with the command that replays it, and counted as FOUND,
# to be mended and added to regressions.txt.
#
#     sh tests/sim/run.sh [STRAIT-SIM [SEEDS]]
set -u
cd "$(dirname "$0")/../.." || exit 1
sim=${1:-build/strait-sim}
seeds=${2:-1000}

commit=$(git rev-parse HEAD 2>/dev/null || echo 0)
drawn=$(($(printf '%d' "0x$(printf '%.8s' "$commit")") + 1000000))

failed=0
found=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# both PERCENT OPTIONS...: that part of all seeds.
both() {
    half=$((seeds * $1 / 200))
    shift
    "$sim" --seeds "1-$half" "$@" >"$work/fixed" 2>&1 &
    fixed=$!
    if ! "$sim" --seeds "$drawn-$((drawn + half - 1))" "$@" >"$work/drawn" 2>&1; then
        count=$(grep -c '^seed .* FAILED' "$work/drawn")
        [ "$count" -gt 0 ] || failed=1 # it ended otherwise than by a seed
        found=$((found + count))
    fi
    wait "$fixed" || failed=1
    echo "== fixed seeds: $*"
    cat "$work/fixed"
    echo "== seeds of commit $commit: $*"
    cat "$work/drawn"
}
both 20 --servers 1
both 40 --servers 3
both 5 --servers 3 --upgrade
both 10 --servers 3 --decay --churn --aim
both 5 --servers 5
both 5 --servers 5 --decay --churn --aim
both 10 --servers 3 --keep-log
both 5 --servers 5 --keep-log
both 40 --regions

# One run in fifty is run twice: equal seeds must give equal runs.
one_in_fifty=$(((seeds + 49) / 50))
"$sim" --seeds "1-$one_in_fifty" --servers 3 --twice >"$work/twice" 2>&1 &
alone=$!
"$sim" --seeds "1-$one_in_fifty" --regions --twice >"$work/twice-regions" 2>&1 || failed=1
wait "$alone" || failed=1
echo "== twice"
cat "$work/twice" "$work/twice-regions"

while read -r options; do
    case "$options" in '' | '#'*) continue ;; esac
    # shellcheck disable=SC2086 # options are several words
    "$sim" ${options%%#*} >"$work/regression" 2>&1 || {
        failed=1
        cat "$work/regression"
    }
done <tests/sim/regressions.txt
echo "FOUND by the seeds of commit $commit: $found"
exit $failed
