#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A region of three with one slow member: a follower's disk, a follower's link, the leader's disk.

    cmake --preset planted && cmake --build --preset planted --target straitd     # once
    python3 tests/bench/slow.py             about a minute and a half
    python3 tests/bench/slow.py --seconds 2

Members run a build whose writes with a flush begin a second late while a file is there; the link goes
through a relay of half a second each way. Bounds: the region's p99 is at most twice the healthy one
with a slow follower, and a leader whose disk turns slow has stepped down within 5 s. Exit status 1
where one is missed. --json FILE also writes all figures."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

# pylint: disable=wrong-import-position
from harness import BUILD, expect, free_port, spawn
from region import Member, Region

SLOW_STRAITD = os.environ.get("STRAIT_SLOW_BUILD", os.path.join(ROOT, ".build", "planted", "straitd"))
RATIO_MAX = 2.0
STEP_DOWN_MAX_S = 5.0
LINK_DELAY_MS = 500


class Slowable(Member):
    """A member whose disk is slow while `slow` is there, and that others reach through `relay`."""

    def __init__(self, region, name):
        self.relay = "127.0.0.1:%d" % free_port()
        super().__init__(region, name)

    def command(self):
        return ["env", "STRAIT_SLOW_FLUSH=" + self.path("slow"), SLOW_STRAITD, "--config", self.config_path, *self.extra]

    def turn_slow(self, slow):
        if slow:
            open(self.path("slow"), "w", encoding="ascii").close()
        else:
            os.unlink(self.path("slow"))


class SlowRegion(Region):
    """All but the first member are reached through a relay."""

    member_class = Slowable

    def join(self, member):
        member.start()
        self.strait("member", "add", member.name, member.relay)
        self.promote(member.name)


class Relay:
    """What passes to a member."""

    def __init__(self, member):
        self.control = member.path("relay")
        self.process = spawn([os.path.join(BUILD, "strait-relay"), "--control", self.control,
                              "%s=%s" % (member.relay, member.peers)], stdout=subprocess.PIPE, text=True)
        while self.process.stdout.readline() not in ("ready\n", ""):
            pass

    def delay(self, milliseconds):
        subprocess.run([os.path.join(BUILD, "strait-relay"), "--tell", self.control, "delay %d" % milliseconds],
                       check=True, stdout=subprocess.DEVNULL)


def wait_whole(region, seconds=120):
    """All members answer, and have the log."""
    until = time.monotonic() + seconds
    while True:
        members = region.json("member", "list")["members"]
        if all(item["self"] or (item["connected"] and item["lag_entries"] < 1000) for item in members):
            return
        expect(time.monotonic() < until, "a member does not catch up:", members)
        time.sleep(0.05)


def put_p99_us(region, seconds):
    found = region.json("bench", "put", "--clients", "64", "--seconds", str(seconds))
    return found["p99_us"], found["per_second"]


def measure(region, seconds, rounds, slow):
    """Medians of the p99 while `slow(True)` holds, and of that without, in turn."""
    figures = {False: [], True: []}
    for _ in range(rounds):
        for is_slow in (False, True):
            slow(is_slow)
            figures[is_slow].append(put_p99_us(region, seconds))
            slow(False)
            wait_whole(region)
    for is_slow in (False, True):
        print("    %-8s p99 %8.1f us, %8.0f/s" % ("slow" if is_slow else "healthy", *[
            statistics.median(column) for column in zip(*figures[is_slow])]), flush=True)
    healthy, slowed = (statistics.median(p99 for p99, _ in figures[is_slow]) for is_slow in (False, True))
    return slowed / healthy


def step_down_s(region, leader):
    """From the moment that the leader's disk turned slow to another that leads, under load."""
    load = region.spawn("bench", "put", "--clients", "16", "--seconds", "10")
    time.sleep(1)
    began = time.monotonic()
    leader.turn_slow(True)
    while region.leader() is leader:
        expect(time.monotonic() - began < 60, "it still leads")
    took = time.monotonic() - began
    leader.turn_slow(False)
    load.communicate(timeout=60)
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="writes all figures there")
    arguments = parser.parse_args()
    expect(os.access(SLOW_STRAITD, os.X_OK), SLOW_STRAITD, "is missing: see --help")
    region = SlowRegion(3, start=False)
    missed = []
    figures = {}

    def judge(name, value, bound, text):
        figures[name] = value
        missed.extend([name] if value > bound else [])
        print("  %-58s %6.2f  (at most %.2f)  %s" % (text, value, bound, "ok" if value <= bound else "MISSED"), flush=True)

    try:
        first, _, last = region.members.values()
        relays = {member.name: Relay(member) for member in list(region.members.values())[1:]}
        region.start()
        expect(region.leader() is first, "another leads already")
        print("64 connections, durable puts of 256 bytes, %d rounds of %d s, medians:" % (
            arguments.rounds, arguments.seconds), flush=True)

        def slow_disk(is_slow):
            if os.path.exists(last.path("slow")) != is_slow:
                last.turn_slow(is_slow)

        def slow_link(is_slow):
            relays[last.name].delay(LINK_DELAY_MS if is_slow else 0)

        judge("disk", measure(region, arguments.seconds, arguments.rounds, slow_disk), RATIO_MAX,
              "a follower's flushes take 1 s: p99 / healthy")
        judge("link", measure(region, arguments.seconds, arguments.rounds, slow_link), RATIO_MAX,
              "a follower's link takes 0.5 s each way: p99 / healthy")
        judge("leader", step_down_s(region, region.leader()), STEP_DOWN_MAX_S,
              "the leader's flushes take 1 s: another leads after, s")
    finally:
        region.close()
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(figures, file)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
