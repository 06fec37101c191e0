#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What shipping to another region costs, and how well it keeps up; ratios within one run.

    python3 tests/bench/shipping.py                 all parts (about 6 minutes)
    python3 tests/bench/shipping.py cost wan        these alone

    cost      puts with and without a receiver that stores and acknowledges, and applies nothing (sink.c):
              throughput, p99, processor time of the primary's three processes per 1,000 transactions
    wan       bytes between the regions for the orders of --input, over the bytes of their entries
    lag       a standby region 45 ms away under full checkout load
    catchup   after a break of the line, against how fast the log grew in it
    takeover  promotion after all of the primary was killed, and a switchover, under load

Exit status 1 where a bound is missed. --json FILE also writes all figures."""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

# pylint: disable=wrong-import-position
from harness import BUILD, end_children, expect, expect_equal, on_signal, spawn
from paced import Paced
from regions import Regions, wait_follows, wait_level
from switchovers import switch_over

SINK = os.path.join(BUILD, "bench_sink")
PARTS = ("cost", "wan", "lag", "catchup", "takeover")
ORDERS = os.path.join(ROOT, "server", "sample", "orders.csv")
TICKS = os.sysconf("SC_CLK_TCK")


def bound(results, name, value, at_least=None, at_most=None, unit=""):
    good = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    limit = "at least %g" % at_least if at_least is not None else "at most %g" % at_most
    print("  %-62s %8.3f%s  (%s)  %s" % (name, value, unit, limit, "ok" if good else "MISSED"), flush=True)
    results["figures"][name] = value
    results["missed"] += not good


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def cpu_seconds(pid):
    """User and system time of all its threads."""
    with open("/proc/%d/stat" % pid, encoding="ascii") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def standby(regions):
    """What the primary's leader says of sydney, and when it was asked."""
    told = regions.singapore.json("region", "list")
    found = next(region for region in told["regions"] if region["name"] == "sydney")
    found["asked_ns"] = time.monotonic_ns()
    return found


def wait_standby(regions, is_there, seconds=600):
    until = time.monotonic() + seconds
    while True:
        found = standby(regions)
        if found["version"] is not None and is_there(found):
            return found
        expect(time.monotonic() < until, "sydney stays like this:", found)
        time.sleep(0.02)


def wait_caught_up(regions):
    return wait_standby(regions, lambda found: found["lag_versions"] == 0)


class Sink:
    """In Sydney's place; rests at first."""

    def __init__(self, regions):
        member = next(iter(regions.sydney.members.values()))
        with open(os.path.join(regions.folder, "sink.log"), "w", encoding="utf-8") as log:
            self.process = spawn([SINK, member.config_path, os.path.join(regions.folder, "sink")],
                                 stdout=subprocess.PIPE, stderr=log, text=True)
        self.told()

    def told(self):
        line = self.process.stdout.readline().split()
        expect(line, "the sink has ended")
        return line

    def turn(self):
        """Begins or ends to pull. Entries, their bytes and the compressed bytes that came so far."""
        self.process.send_signal(signal.SIGUSR1)
        return [int(word) for word in self.told()[1:]]

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)


def with_sink(delay_ms=None):
    """A primary with a sink in the other region's place."""
    regions = Regions(start=False, delay_ms=delay_ms)
    try:
        if delay_ms is not None:
            regions.start_relay()
        regions.singapore.start()
        regions.list_both()
        return regions, Sink(regions)
    except BaseException:
        regions.close()
        raise


# ---- Cost ----

def measure(regions, sink, seconds, clients):
    members = regions.singapore.members.values()
    before = sum(cpu_seconds(member.process.pid) for member in members)
    sink_before = sink.cpu_seconds()
    told = regions.singapore.json("bench", "put", "--clients", str(clients), "--seconds", str(seconds),
                                  timeout=seconds + 120)
    after = sum(cpu_seconds(member.process.pid) for member in members)
    expect_equal(told["errors_count"], 0, "errors")
    return {"per_second": told["per_second"], "p99_us": told["p99_us"],
            "cpu_ms_per_1000": (after - before) * 1e6 / told["done_count"],
            "sink_cpu_ms_per_1000": (sink.cpu_seconds() - sink_before) * 1e6 / told["done_count"]}


def cost(results, options):
    print("Puts of 256 bytes, %d clients, %d rounds of %d s without and with shipping:" % (
        options.clients, options.rounds, options.seconds), flush=True)
    regions, sink = with_sink()
    figures = {False: [], True: []}
    pulls = False
    try:
        regions.singapore.json("bench", "put", "--clients", str(options.clients), "--seconds", "2")
        for i in range(2 * options.rounds):
            wanted = i % 4 in (1, 2)  # off, on, on, off
            if wanted != pulls:
                sink.turn()
                pulls = wanted
            if pulls:
                wait_caught_up(regions)
            figures[pulls].append(measure(regions, sink, options.seconds, options.clients))
            print("  %-7s %7.0f/s  p99 %8.0f us  %6.1f ms of processor time per 1,000 in the primary, %5.1f in the sink" % (
                "shipped" if pulls else "alone", *figures[pulls][-1].values()), flush=True)
    finally:
        regions.close()
    results["cost"] = {"alone": figures[False], "shipped": figures[True]}
    for name, key, limits in (("throughput, shipped / alone", "per_second", {"at_least": 0.95}),
                              ("p99, shipped / alone", "p99_us", {"at_most": 1.10}),
                              ("processor time of the primary, shipped / alone", "cpu_ms_per_1000", {"at_most": 1.05})):
        alone, shipped = (statistics.median(figure[key] for figure in figures[side]) for side in (False, True))
        bound(results, name, shipped / alone, **limits)


# ---- Bytes ----

def relay_bytes(regions):
    told = json.loads(regions.tell_relay("status"))
    return told["forward_bytes"] + told["back_bytes"]


def wan(results, options):
    print("Loading %s:" % options.input, flush=True)
    regions, sink = with_sink(delay_ms=45)
    try:
        sink.turn()
        wait_caught_up(regions)
        before = relay_bytes(regions)
        _, raw_before, _ = sink.turn()
        sink.turn()
        wait_caught_up(regions)
        regions.singapore.strait("load", "retail", options.input, "--quiet", timeout=600)
        wait_caught_up(regions)
        passed = relay_bytes(regions) - before
        entries, raw, received = sink.turn()
    finally:
        regions.close()
    raw -= raw_before
    print("  %d entries, %.2f MiB; %.2f MiB compressed, %.2f MiB over the line in both directions" % (
        entries, raw / 2**20, received / 2**20, passed / 2**20))
    bound(results, "bytes over the line / bytes of entries", passed / raw, at_most=0.5)


# ---- Lag ----

def lag(results, options):
    print("Checkouts of %d clients for %d s, Sydney 45 ms away:" % (options.clients, options.lag_seconds), flush=True)
    regions = Regions(start=False, delay_ms=45)
    lags = []
    try:
        regions.start()
        wait_level(regions)
        load = regions.singapore.spawn("bench", "checkout", "--clients", str(options.clients), "--seconds",
                                       str(options.lag_seconds), "--json")
        begun = standby(regions)["version"]
        wait_standby(regions, lambda found: found["version"] > begun, 60)
        while load.poll() is None:
            lags.append(standby(regions)["lag_ms"])
            time.sleep(0.1)
        out, said = load.communicate()
        expect_equal(load.returncode, 0, "the load", said)
        print("  %.0f checkouts a second; %d samples of the lag: median %.0f ms, greatest %.0f ms" % (
            json.loads(out)["per_second"], len(lags), statistics.median(lags), max(lags)))
    finally:
        regions.close()
    bound(results, "lag, 99th percentile", percentile(lags, 0.99) / 1000, at_most=1, unit=" s")


# ---- Catching up ----

def latencies_ms(load, from_ns, to_ns):
    return [(answer.answered_ns - answer.sent_ns) / 1e6 for answer in load.answers
            if answer.status is None and from_ns <= answer.answered_ns <= to_ns]


def break_line(regions, load, options):
    """What the primary says of sydney when the line is back, when the first entry has come, and when it is
    level; and when the line was cut."""
    cut_ns = time.monotonic_ns()
    regions.tell_relay("cut")
    load.wait_more(options.rate * options.break_seconds, 10 * options.break_seconds + 60)
    back = standby(regions)
    regions.tell_relay("resume")
    moved = wait_standby(regions, lambda found: found["version"] > back["version"])
    level = wait_standby(regions, lambda found: found["lag_versions"] <= options.rate // 2)
    return cut_ns, back, moved, level


def catchup(results, options):
    print("Puts at %d a second, the line cut for %d s:" % (options.rate, options.break_seconds), flush=True)
    regions = Regions(start=False, delay_ms=45)
    load = None
    try:
        regions.start()
        regions.singapore.strait("table", "create", "paced")
        wait_level(regions)
        load = Paced(regions.singapore, options.rate)
        load.wait_more(5 * options.rate, 120)
        cut_ns, back, moved, level = break_line(regions, load, options)
        load.end()
        load.expect_no_errors()
        wait_level(regions)
    finally:
        if load is not None:
            load.kill()
        regions.close()
    took = (level["asked_ns"] - moved["asked_ns"]) / 1e9
    before, during = latencies_ms(load, 0, cut_ns), latencies_ms(load, back["asked_ns"], level["asked_ns"])
    kept = len(during) * 1e9 / (level["asked_ns"] - back["asked_ns"]) / options.rate
    print("  %d versions behind; the first came after %.2f s, level %.2f s later; p99 of puts %.1f ms before, %.1f ms then"
          % (back["lag_versions"], (moved["asked_ns"] - back["asked_ns"]) / 1e9, took, percentile(before, 0.99),
             percentile(during, 0.99)))
    # What had come by the first look counts with the time before it, which no look saw the beginning of.
    speed = (level["version"] - moved["version"]) / took if level is not moved and took > 0 else float("inf")
    bound(results, "speed of catching up / growth of the log", speed / options.rate, at_least=5)
    bound(results, "puts a second while it catches up / before", kept, at_least=0.9)


# ---- Takeovers ----

class Everywhere:
    """The servers of both regions, for a load that has to find the primary."""

    def __init__(self, regions):
        self.data = regions.folder
        self.singapore = regions.singapore
        self.endpoints = ",".join(regions.endpoints(regions.singapore) + regions.endpoints(regions.sydney))

    def environment(self):
        return self.singapore.environment(self.endpoints)


def promote(regions, load, results, options):
    for member in regions.singapore.members.values():
        member.process.kill()
    for member in regions.singapore.members.values():
        member.kill()
    begun_ns = time.monotonic_ns()
    regions.sydney.strait("region", "promote", "sydney", "--force")
    load.wait_more(options.rate, 120)
    # What was sent since, Singapore cannot have answered.
    first_ns = min(answer.answered_ns for answer in load.answers
                   if answer.status is None and answer.sent_ns > begun_ns)
    bound(results, "promotion, from the command to the first write", (first_ns - begun_ns) / 1e9, at_most=5, unit=" s")


def takeover(results, options):
    print("Puts at %d a second; all of Singapore is killed, and Sydney promoted:" % options.rate, flush=True)
    regions = Regions(start=False, delay_ms=45)
    load = None
    try:
        regions.start()
        regions.singapore.strait("table", "create", "paced")
        wait_level(regions)
        load = Paced(Everywhere(regions), options.rate)
        load.wait_more(3 * options.rate, 120)
        promote(regions, load, results, options)
        for member in regions.singapore.members.values():
            member.start()
        wait_follows(regions.singapore)
        begun_ns = time.monotonic_ns()
        for refused in switch_over(regions.sydney, "singapore"):
            print("  undone: " + refused)
        load.wait_more(options.rate, 120)
        load.end()
        bound(results, "switchover, the longest pause of writes", load.longest_gap_ms(begun_ns) / 1e3, at_most=5,
              unit=" s")
    finally:
        if load is not None:
            load.kill()
        regions.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS) + "; all by default")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement of the cost")
    parser.add_argument("--rounds", type=int, default=5, help="of the cost, each without and with shipping")
    parser.add_argument("--lag-seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=400, help="puts a second, where they are paced")
    parser.add_argument("--break-seconds", type=int, default=30)
    parser.add_argument("--input", default=ORDERS, help="orders (CSV, plain or gzip); the sample by default")
    parser.add_argument("--json", metavar="FILE", help="writes all figures there")
    options = parser.parse_args()
    parts = options.parts or list(PARTS)
    if not set(parts) <= set(PARTS):
        parser.error("a part is one of " + ", ".join(PARTS))
    tempfile.tempdir = BUILD  # on the disk of the other benchmarks
    signal.signal(signal.SIGTERM, on_signal)
    results = {"figures": {}, "missed": 0}
    try:
        for part in (cost, wan, lag, catchup, takeover):
            if part.__name__ in parts:
                part(results, options)
    except AssertionError as error:
        sys.exit("shipping: %s" % error)
    finally:
        end_children()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)
    sys.exit(1 if results["missed"] else 0)


main()
