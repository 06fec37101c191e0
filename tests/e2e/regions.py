# SPDX-License-Identifier: Apache-2.0
"""Two regions of a cluster on loopback, as an operator would make them: Singapore, and Sydney that
follows it."""
import json
import os
import shutil
import subprocess
import tempfile
import time

from harness import BUILD, DONE, STRAIT, expect, expect_equal, free_port, run, spawn
from region import Authority, Region

LAG_SECONDS = 60
RELAY = os.path.join(BUILD, "strait-relay")


class Regions:
    """`count` members each: s1... in singapore, y1... in sydney. Singapore is the primary at first. With
    `delay_ms` they reach each other through a relay that takes so long, each way."""

    def __init__(self, count=3, start=True, delay_ms=None):
        self.folder = tempfile.mkdtemp(prefix="strait-regions-")
        self.cluster_id = os.urandom(16).hex()
        self.authority = Authority(self.folder)
        for role in ("admin", "app"):
            self.authority.issue(role, "URI:strait:" + role, "clientAuth")
        names = {prefix: [prefix + str(i + 1) for i in range(count)] for prefix in "sy"}
        self.singapore = Region(count, start=False, cluster=self, prefix="s", others=names["y"],
                                section=["id: 1", "region_name: singapore"])
        self.delay_ms = delay_ms
        self.relayed = {}
        self.relay = None
        self.sydney = Region(count, start=False, cluster=self, prefix="y", others=names["s"],
                             section=["id: 2", "region_name: sydney",
                                      "standby_of: [%s]" % ", ".join(self.endpoints(self.singapore))])
        self.all = (self.singapore, self.sydney)
        self.data = self.folder
        self.log_path = self.singapore.profile
        if start:
            self.start()

    def endpoints(self, region):
        """Where the other region, and its clients, reach the servers of this one."""
        if self.delay_ms is None:
            return [member.clients for member in region.members.values()]
        return [self.relayed.setdefault(member.name, "127.0.0.1:%d" % free_port())
                for member in region.members.values()]

    def members(self):
        return [member for region in self.all for member in region.members.values()]

    def start_relay(self):
        """Passes on from the addresses of endpoints()."""
        pairs = ["%s=%s" % (address, member.clients) for region in (self.singapore, self.sydney)
                 for address, member in zip(self.endpoints(region), region.members.values())]
        self.relay = spawn([RELAY, "--delay", str(self.delay_ms), "--control", os.path.join(self.folder, "relay"),
                            *pairs], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        while (line := self.relay.stdout.readline().strip()) != "ready":
            expect(line != "", "the relay does not start")

    def tell_relay(self, *words):
        result = run([RELAY, "--tell", os.path.join(self.folder, "relay"), *words])
        expect_equal(result.returncode, DONE, "the relay", *words, result.stderr)
        return result.stdout.decode("ascii")

    def start(self):
        if self.delay_ms is not None:
            self.start_relay()
        self.singapore.start()
        self.list_both()
        self.sydney.start()

    def list_both(self):
        for name, number, region in (("singapore", 1, self.singapore), ("sydney", 2, self.sydney)):
            self.singapore.strait("region", "add", name, "--id", str(number), "--endpoints",
                                  ",".join(self.endpoints(region)))

    def log(self):
        return "".join(region.log() for region in self.all)

    def close(self):
        for region in self.all:
            region.close()
        if self.relay is not None:
            self.relay.kill()
            self.relay.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


def wait_for(what, seconds=120):
    """Until `what`, a function that says what it waits for by its name, is true."""
    until = time.monotonic() + seconds
    while not what():
        expect(time.monotonic() < until, "never:", what.__name__)
        time.sleep(0.05)


def write(region, prefix, count):
    for i in range(count):
        region.strait("put", "t", "%s-%d" % (prefix, i), prefix)


def status(region):
    """What the region's leader says of its place among the regions; None: it cannot be asked."""
    result = region.run("region", "status", "--json", timeout=30)
    return json.loads(result.stdout) if result.returncode == DONE else None


def position(region):
    found = status(region)
    return None if found is None else (found["epoch"]["number"], found["epoch"]["region"], found["version"])


def wait_level(regions, seconds=LAG_SECONDS):
    """Both are at the same version of the same epoch."""
    until = time.monotonic() + seconds
    while True:
        singapore, sydney = position(regions.singapore), position(regions.sydney)
        if singapore is not None and singapore == sydney:
            return singapore
        expect(time.monotonic() < until, "not level:", singapore, sydney, status(regions.sydney))
        time.sleep(0.1)


def wait_follows(region, seconds=90):
    """Until the old primary is a standby in Sydney's epoch."""
    until = time.monotonic() + seconds
    while True:
        found = status(region)
        if found is not None and found["role"] == "standby" and found["epoch"]["region"] == 2:
            return
        expect(time.monotonic() < until, "the old primary does not follow:", found)
        time.sleep(0.1)


def digests(regions):
    """Of each replica, by its name: where it stands, and the digest of what it wrote up to there."""
    found = {}
    for region in regions.all:
        for member in region.members.values():
            result = run([STRAIT, "status", "--json", "--endpoint", member.clients],
                         env=region.environment(), timeout=30)
            if result.returncode != DONE:
                return None
            told = json.loads(result.stdout)
            found[member.name] = (told["epoch_number"], told["epoch_region"], told["version"], told["chain_digest"])
    return found


def wait_equal(regions, seconds=LAG_SECONDS):
    """Until all replicas of all regions are at the same version: their digests, which are equal."""
    until = time.monotonic() + seconds
    while True:
        found = digests(regions)
        if found is not None and len({place[:3] for place in found.values()}) == 1:
            expect_equal(len(set(found.values())), 1, "digests at one version:", found)
            return found
        expect(time.monotonic() < until, "the replicas do not come level:", found)
        time.sleep(0.1)
