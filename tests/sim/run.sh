#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the simulator over many seeds: half of them fixed, half drawn from the commit, so that each
# change is tried on ground that no other was; then those that once failed.
#
#     sh tests/sim/run.sh [STRAIT-SIM [SEEDS [SERVERS]]]
set -u
cd "$(dirname "$0")/../.." || exit 1
sim=${1:-build/strait-sim}
seeds=${2:-1000}
servers=${3:-1}
half=$((seeds / 2))

commit=$(git rev-parse HEAD 2>/dev/null || echo 0)
drawn=$(printf '%d' "0x$(printf '%.8s' "$commit")")
drawn=$((drawn + 1000000))

failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
"$sim" --seeds "1-$half" --servers "$servers" >"$work/fixed" 2>&1 &
fixed=$!
"$sim" --seeds "$drawn-$((drawn + half - 1))" --servers "$servers" >"$work/drawn" 2>&1 || failed=1
wait "$fixed" || failed=1
echo "== fixed seeds"
cat "$work/fixed"
echo "== seeds of commit $commit"
cat "$work/drawn"

# One run in fifty is run twice: equal seeds must give equal runs.
"$sim" --seeds "1-$(((seeds + 49) / 50))" --servers "$servers" --twice >"$work/twice" 2>&1 || failed=1
echo "== twice"
cat "$work/twice"

while read -r options; do
    case "$options" in '' | '#'*) continue ;; esac
    # shellcheck disable=SC2086 # options are several words
    "$sim" ${options%%#*} >"$work/regression" 2>&1 || {
        failed=1
        cat "$work/regression"
    }
done <tests/sim/regressions.txt
exit $failed
