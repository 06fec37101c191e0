#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds with sanitizers and as a release, and runs every test that CI runs.
# Each part prints its time; the last line is "N passed, N failed, N skipped".
#
#     sh tests/run.sh             all parts
#     sh tests/run.sh unit fuzz   these parts only (build is always done)
set -u
cd "$(dirname "$0")/.." || exit 1

passed=0
failed=0
skipped=0
parts=${*:-lint unit crash sim planted fuzz compilers e2e}
logs=.build/logs
mkdir -p "$logs"

now() { date +%s; }
say() { printf '%s\n' "$*"; }

# part NAME COMMAND...: runs it, prints its time and verdict.
part() {
    name=$1
    shift
    begun=$(now)
    if "$@" >"$logs/$name.log" 2>&1; then
        verdict=passed
    else
        verdict=FAILED
    fi
    say "== $name: $verdict in $(($(now) - begun)) s"
    [ "$verdict" = passed ]
}

# one NAME COMMAND...: a part that counts as one test.
one() {
    if part "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        tail -n 60 "$logs/$1.log"
    fi
}

# suite NAME PRESET-DIRECTORY LABEL: ctest by label; counts its tests.
suite() {
    part "$1" env UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=1 \
        ctest --test-dir "$2" -L "$3" -j 2 --output-on-failure --no-tests=error
    ran=$?
    line=$(grep -E '^[0-9]+% tests passed' "$logs/$1.log")
    bad=$(printf '%s' "$line" | sed -E 's/.*, ([0-9]+) tests failed out of ([0-9]+).*/\1/')
    all=$(printf '%s' "$line" | sed -E 's/.*, ([0-9]+) tests failed out of ([0-9]+).*/\2/')
    missed=$(grep -cE '\*\*\*Skipped' "$logs/$1.log")
    # A file of tests that ran may have left some out.
    left_out=$(grep -cE ': SKIPPED: ' "$2/Testing/Temporary/LastTest.log")
    if [ -z "$line" ]; then
        failed=$((failed + 1))
    else
        passed=$((passed + all - bad - missed))
        failed=$((failed + bad))
        [ "$left_out" -gt "$missed" ] || left_out=$missed
        skipped=$((skipped + left_out))
        say "   $((all - bad - missed)) passed, $bad failed, $left_out skipped"
        grep -E '\*\*\*Skipped' "$logs/$1.log" | sed 's/^/   /'
    fi
    [ $ran -eq 0 ] || tail -n 80 "$logs/$1.log"
    # What passing tests print is only here.
    grep -hE 'distinct disk images|: SKIPPED: ' "$2/Testing/Temporary/LastTest.log" | sed 's/^/   /'
}

wants() { case " $parts " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

finish() {
    say "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit $?
}

# build PRESET [TARGET]: all of it, or no more than that.
build() {
    cmake --preset "$1" -DSTRAIT_TESTS=ON && cmake --build --preset "$1" -j 2 ${2:+--target "$2"}
}

# clang's own build, which counts once: clang-tidy reads its commands and its generated headers.
build_clang() {
    [ -z "${clang_built:-}" ] || return 0
    clang_built=yes
    one build-clang build clang
}

# No more of the build with planted bugs than their replay runs.
build_planted() {
    cmake --preset planted -DSTRAIT_TESTS=ON && cmake --build --preset planted -j 2 --target \
        strait-sim unit_replication_raft_model unit_replication_raft_script
}

begun_all=$(now)
part packages sh tests/packages.sh test || {
    cat "$logs/packages.log"
    failed=1
    finish
}
for preset in release asan; do
    part "build-$preset" build "$preset" || {
        grep -E 'error|FAILED' "$logs/build-$preset.log" | head -n 40
        failed=1
        finish
    }
done

if wants lint; then
    one tidy python3 tests/tidy/tidy.py
    one format sh tests/tidy/format.sh
    build_clang
    one clang-tidy sh tests/tidy/clang_tidy.sh .build/clang
fi
wants unit && suite unit .build/asan unit
wants crash && suite crash .build/asan crash
if wants sim; then
    one sim sh tests/sim/run.sh build/strait-sim 1000
    sed -n 's/^/   /p' "$logs/sim.log" | grep -E 'runs,|faults:|FAILED|replay:|FOUND'
fi
if wants planted; then
    one build-planted build_planted
    one planted sh tests/sim/plant.sh replay
    sed -n 's/^/   /p' "$logs/planted.log" | grep -E 'bugs found by|finds it no more'
fi
if wants fuzz; then
    one build-fuzz build fuzz fuzzers
    suite fuzz .build/fuzz fuzz
fi
if wants compilers; then
    build_clang
    one build-tsan build tsan threaded
    suite threads .build/tsan threads
fi
wants e2e && suite e2e build e2e
say "== all parts: $(($(now) - begun_all)) s"
finish
