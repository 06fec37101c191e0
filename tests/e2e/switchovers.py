# SPDX-License-Identifier: Apache-2.0
"""Switchovers in a row, there and back, under puts at a steady rate."""
import time

from harness import DONE, expect
from paced import Paced
from regions import wait_equal

# Between a switchover and the next, by what is acknowledged.
STEADY_PUTS = 200


def switch_over(source, target, seconds=60):
    """One that could not be done was undone, and is asked for again. Gives why those were refused."""
    until = time.monotonic() + seconds
    refused = []
    while True:
        result = source.run("region", "switchover", target)
        if result.returncode == DONE:
            return refused
        refused.append(result.stderr.decode("utf-8", "replace").strip())
        expect(time.monotonic() < until, "no switchover to", target, refused)
        time.sleep(0.1)


def drill(regions, count, rate):
    """Gives the load, which has ended, and each switchover's longest pause of writes."""
    load = Paced(regions.singapore, rate)
    begun_ns = []
    try:
        load.wait_more(STEADY_PUTS, 120)
        for i in range(count):
            source, target = ((regions.singapore, "sydney"), (regions.sydney, "singapore"))[i % 2]
            begun_ns.append(time.monotonic_ns())
            refused = switch_over(source, target)
            load.wait_more(STEADY_PUTS, 120)
            print("  %2d of %d, to %-9s  longest pause of writes %6.0f ms, %d failed so far%s" % (
                i + 1, count, target, load.longest_gap_ms(begun_ns[-1]),
                len(load.answers) - load.acknowledged_count,
                "; undone before: " + "; ".join(refused) if refused else ""), flush=True)
        load.end()
    finally:
        load.kill()
    ends = begun_ns[1:] + [1 << 62]
    return load, [load.longest_gap_ms(begun, end - 1) for begun, end in zip(begun_ns, ends)]


def check(regions, load):
    """All replicas of both regions have the same, and with that all that was acknowledged."""
    for name, (number, region, version, digest) in wait_equal(regions, 120).items():
        print("  %s  version %d, epoch %d of region %d, digest %s" % (name, version, number, region, digest))
    load.expect_all_there(regions.singapore)
