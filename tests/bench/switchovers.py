#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The reign over two regions, 45 ms apart, handed over again and again under puts at a steady rate.

    python3 tests/bench/switchovers.py             20 switchovers at 500 puts a second (about a minute)
    python3 tests/bench/switchovers.py --count 5

Per switchover, the longest gap between two acknowledged writes; bound: 5 s for each. No write may fail.
In the end all six replicas must have the same digest at the same version, and all that was acknowledged.
Exit status 1 otherwise. --json FILE also writes all figures."""
import argparse
import json
import os
import signal
import statistics
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

# pylint: disable=wrong-import-position
from harness import BUILD, end_children, on_signal
from regions import Regions
from switchovers import check, drill

PAUSE_MAX_MS = 5000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--rate", type=int, default=500, help="puts a second")
    parser.add_argument("--delay", type=int, default=45, help="milliseconds between the regions, each way")
    parser.add_argument("--json", metavar="FILE", help="writes all figures there")
    options = parser.parse_args()
    tempfile.tempdir = BUILD  # on the disk of the other benchmarks
    print("%d switchovers under %d puts of 256 bytes a second, %d ms apart:" % (
        options.count, options.rate, options.delay), flush=True)
    signal.signal(signal.SIGTERM, on_signal)
    regions = Regions(start=False, delay_ms=options.delay)
    try:
        regions.start()
        regions.singapore.strait("table", "create", "paced")
        load, pauses = drill(regions, options.count, options.rate)
        check(regions, load)
    except AssertionError as error:
        print(regions.log())
        sys.exit("switchovers: %s" % error)
    finally:
        end_children()
        regions.close()
    failed = len(load.answers) - load.acknowledged_count
    missed = failed > 0 or max(pauses) > PAUSE_MAX_MS
    print("  %d switchovers, %d writes acknowledged and all there, in both regions; %d failed (0)" % (
        len(pauses), load.acknowledged_count, failed))
    print("  longest pause of writes: median %.0f ms, max %.0f ms (at most %d)  %s" % (
        statistics.median(pauses), max(pauses), PAUSE_MAX_MS, "MISSED" if missed else "ok"))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"pauses_ms": pauses, "acknowledged": load.acknowledged_count, "failed": failed}, file, indent=2)
    sys.exit(1 if missed else 0)


main()
