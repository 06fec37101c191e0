# SPDX-License-Identifier: Apache-2.0
"""Two regions of a cluster on loopback, as an operator would make them: Singapore, and Sydney that
follows it."""
import json
import os
import shutil
import tempfile
import time

from harness import DONE, expect
from region import Authority, Region

LAG_SECONDS = 60


class Regions:
    """`count` members each: s1... in singapore, y1... in sydney. Singapore is the primary at first."""

    def __init__(self, count=3, start=True):
        self.folder = tempfile.mkdtemp(prefix="strait-regions-")
        self.cluster_id = os.urandom(16).hex()
        self.authority = Authority(self.folder)
        for role in ("admin", "app"):
            self.authority.issue(role, "URI:strait:" + role, "clientAuth")
        names = {prefix: [prefix + str(i + 1) for i in range(count)] for prefix in "sy"}
        self.singapore = Region(count, start=False, cluster=self, prefix="s", others=names["y"],
                                section=["id: 1", "region_name: singapore"])
        endpoints = ", ".join(member.clients for member in self.singapore.members.values())
        self.sydney = Region(count, start=False, cluster=self, prefix="y", others=names["s"],
                             section=["id: 2", "region_name: sydney", "standby_of: [%s]" % endpoints])
        self.data = self.folder
        self.log_path = self.singapore.profile
        if start:
            self.start()

    def start(self):
        self.singapore.start()
        for name, number, region in (("singapore", 1, self.singapore), ("sydney", 2, self.sydney)):
            self.singapore.strait("region", "add", name, "--id", str(number), "--endpoints",
                                  ",".join(member.clients for member in region.members.values()))
        self.sydney.start()

    def log(self):
        return self.singapore.log() + self.sydney.log()

    def close(self):
        self.singapore.close()
        self.sydney.close()
        shutil.rmtree(self.folder, ignore_errors=True)


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
