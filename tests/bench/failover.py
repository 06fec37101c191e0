#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A region's leader killed with -9, again and again, under puts at a steady rate.

    python3 tests/bench/failover.py             30 kills at 1,000 puts a second (about 4 minutes)
    python3 tests/bench/failover.py --kills 5

Per kill, the longest gap between two acknowledged writes; bounds: 1.5 s for each, 700 ms for the median.
In the end every acknowledged write is looked for through each member. Exit status 1 where a bound is
missed, a write failed or is lost. --json FILE also writes all figures."""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

# pylint: disable=wrong-import-position
from harness import BUILD, expect
from paced import Paced
from region import Region

GAP_MAX_MS = 1500
GAP_MEDIAN_MS = 700
# Between a kill and the next, by what is acknowledged: the region is whole and quiet again.
STEADY_PUTS = 2000


def wait_whole(region, seconds=120):
    """Until all members have the log: a kill before would be one of a majority."""
    until = time.monotonic() + seconds
    while True:
        members = region.json("member", "list")["members"]
        if all(item["self"] or (item["connected"] and item["answered_ago_ms"] is not None
                                and item["lag_entries"] < 1000) for item in members):
            return
        expect(time.monotonic() < until, "a member does not catch up:", members)
        time.sleep(0.05)


def kill_leaders(region, load, kills):
    """The times at which leaders were killed, and the longest gap after each, until the next."""
    killed_ns = []
    for i in range(kills):
        load.wait_more(STEADY_PUTS, 120)
        wait_whole(region)
        leader = region.leader()
        killed_ns.append(time.monotonic_ns())
        leader.kill()
        load.wait_more(STEADY_PUTS, 120)
        leader.start()
        print("  kill %2d of %d: %s led, gap %6.0f ms" % (i + 1, kills, leader.name,
              load.longest_gap_ms(killed_ns[-1])), flush=True)
    load.wait_more(STEADY_PUTS, 120)
    load.end()
    ends = killed_ns[1:] + [1 << 62]
    return [load.longest_gap_ms(begun, end - 1) for begun, end in zip(killed_ns, ends)]


def check_through_each(region, load):
    """Each leads once, and holds all that was acknowledged."""
    wait_whole(region)
    for member in region.members.values():
        until = time.monotonic() + 60
        while region.leader() is not member:
            result = region.run("leader", "transfer", member.name)
            expect(time.monotonic() < until, member.name, "does not lead:", result.stderr)
        load.expect_all_there(region)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--rate", type=int, default=1000, help="puts a second")
    parser.add_argument("--election-timeout", metavar="TIME", help="the server's own by default")
    parser.add_argument("--json", metavar="FILE", help="writes all figures there")
    options = parser.parse_args()
    tempfile.tempdir = BUILD  # on the disk of the other benchmarks
    print("Leader killed with -9 under %d puts of 256 bytes a second:" % options.rate, flush=True)
    region = Region(election_timeout=options.election_timeout)
    load = None
    try:
        region.strait("table", "create", "paced")
        load = Paced(region, options.rate)
        gaps = kill_leaders(region, load, options.kills)
        check_through_each(region, load)
    except AssertionError as error:
        print(region.log())
        sys.exit("failover: %s" % error)
    finally:
        if load is not None:
            load.kill()
        region.close()
    failed = [answer for answer in load.answers if answer.status is not None]
    median, longest = statistics.median(gaps), max(gaps)
    missed = bool(failed) or longest > GAP_MAX_MS or median >= GAP_MEDIAN_MS
    print("  %d kills, %d writes acknowledged and all there, %d failed" % (
        len(gaps), len(load.answers) - len(failed), len(failed)))
    print("  longest gap: median %.0f ms (under %d), max %.0f ms (at most %d)  %s" % (
        median, GAP_MEDIAN_MS, longest, GAP_MAX_MS, "MISSED" if missed else "ok"))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"gaps_ms": gaps, "median_ms": median, "max_ms": longest,
                       "acknowledged": len(load.answers) - len(failed), "failed": len(failed)}, file, indent=2)
    sys.exit(1 if missed else 0)


main()
