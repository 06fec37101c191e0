# SPDX-License-Identifier: Apache-2.0
"""Two regions and a witness: a primary that is cut off stops by itself, within its lease, and before
another one begins; a standby promotes itself; the loss of the witness or the standby stops nothing."""
import json
import os
import subprocess
import threading
import time

from harness import BUILD, DONE, STRAIT, STRAITD, Server, expect, expect_equal, main, run, spawn
from regions import Regions, status, wait_level

RELAY = os.path.join(BUILD, "strait-relay")
LEASE_S = 6.0  # as straitd.yaml.sample recommends
PATIENCE_S = 60


class Relay:
    """Ways to some ports, which can be cut all at once."""

    def __init__(self, folder, name, ports):
        self.control = os.path.join(folder, name)
        self.process = spawn([RELAY, "--control", self.control, *("127.0.0.1:0=127.0.0.1:%d" % port for port in ports)],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.endpoints = []
        for line in self.process.stdout:
            if line == "ready\n":
                break
            self.endpoints.append(line.split("=")[0].strip())
        expect_equal(len(self.endpoints), len(ports))

    def tell(self, *words):
        expect_equal(run([RELAY, "--tell", self.control, *words]).returncode, DONE, *words)


class Witness(Server):
    def __init__(self, regions):
        self.regions = regions
        super().__init__(data=os.path.join(regions.folder, "w1"), start=False)
        os.makedirs(self.data)
        self.certificate, self.key = regions.authority.issue("w1", "URI:strait:w1,IP:127.0.0.1", "serverAuth,clientAuth")
        self.master_key = self.path("master.key")
        with open(os.open(self.master_key, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(os.urandom(32).hex() + "\n")
        self.config_path = self.path("straitd.yaml")
        self.extra = []

    def write_config(self, names):
        lines = ["data: %s" % self.store, "listen: 127.0.0.1:%d" % self.port,
                 "tls:", "  certificate: %s" % self.certificate, "  key: %s" % self.key,
                 "  ca: %s" % self.regions.authority.certificate,
                 "encryption:", "  master_key_file: %s" % self.master_key,
                 "witness:", "  cluster_id: %s" % self.regions.cluster_id, "  lease: %ds" % LEASE_S,
                 "access:", "  - identity: admin", "    role: admin"]
        for name in names:
            lines += ["  - identity: %s" % name, "    role: peer"]
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def command(self):
        return [STRAITD, "--witness", "--config", self.config_path, *self.extra]

    def bootstrap(self):
        self.extra = ["--bootstrap"]
        self.start()
        self.extra = []

    def status(self):
        environment = dict(self.regions.singapore.environment("127.0.0.1:%d" % self.port))
        result = run([STRAIT, "witness", "status", "--json"], env=environment)
        expect_equal(result.returncode, DONE, result.stdout, result.stderr)
        return json.loads(result.stdout)


class Witnessed(Regions):
    """The regions hear each other, and Singapore the witness, through relays that can be cut; clients
    reach all of them."""

    def __init__(self, count=3, start=True):
        super().__init__(count, start=False)
        self.witness = Witness(self)
        members = [*self.singapore.members.values(), *self.sydney.members.values()]
        self.between = Relay(self.folder, "between", [member.port for member in members])
        self.to_witness = Relay(self.folder, "to-witness", [self.witness.port])
        names = {}
        for region, near in ((self.singapore, 0), (self.sydney, count)):
            names[region] = self.between.endpoints[near:near + count]
            witness = self.to_witness.endpoints[0] if region is self.singapore else "127.0.0.1:%d" % self.witness.port
            region.sections = ["witness:", "  endpoints: [%s]" % witness, "  lease: %ds" % LEASE_S,
                               "  promote: automatic", "  lag_max: 60s"]
            region.known_names = region.known_names + ["w1"]
            # None that is only held up is to be given up here.
            region.election_timeout = "1500ms"
        self.sydney.section = ["id: 2", "region_name: sydney", "standby_of: [%s]" % ", ".join(names[self.singapore])]
        self.endpoints = names
        for member in members:
            member.write_config()
        self.witness.write_config([member.name for member in members])
        if start:
            self.start()

    def start(self):
        self.witness.bootstrap()
        self.singapore.start()
        for name, number, region in (("singapore", 1, self.singapore), ("sydney", 2, self.sydney)):
            self.singapore.strait("region", "add", name, "--id", str(number), "--endpoints", ",".join(self.endpoints[region]))
        self.sydney.start()

    def log(self):
        return super().log() + "\n--- w1\n" + self.witness.log()[-3000:]

    def close(self):
        self.witness.close()
        super().close()

    def cut_singapore(self):
        for relay in (self.between, self.to_witness):
            relay.tell("cut")

    def resume(self):
        for relay in (self.between, self.to_witness):
            relay.tell("drop")
            relay.tell("resume")


def wait_for(what, check, seconds=PATIENCE_S):
    until = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        expect(time.monotonic() < until, "never:", what)
        time.sleep(0.1)


def lease(region):
    found = status(region)
    return None if found is None else found["lease"]


def holds(primary, one, other):
    """It acknowledges by that grant alone."""
    found = lease(primary)
    return found is not None and found["held"] and found[one] > 0 and found[other] == 0


def wait_both_grants(regions, primary):
    """The primary holds the witness's grant and the standby's."""
    def both():
        found = lease(primary)
        return found is not None and found["held"] and found["witness_ms"] > 0 and found["standby_ms"] > 0
    wait_for("both grants", both)


def writes_go_on(region, seconds):
    """Past the end of any grant that whoever was lost had given."""
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        region.strait("put", "notes", "on", str(count))
        expect_equal(region.json("get", "notes", "on")["value"], str(count))
        count += 1
        time.sleep(0.2)
    expect(count > 0, count)


def the_witness_alone_stops_nothing(regions):
    regions.witness.kill()
    writes_go_on(regions.singapore, LEASE_S + 1)
    wait_for("a grant of the standby's alone", lambda: holds(regions.singapore, "standby_ms", "witness_ms"))
    regions.witness.start()
    # It has kept the epoch, and no grants: it waits one lease before it grants anything.
    found = regions.witness.status()
    expect_equal((found["epoch"], found["epoch_held"]), ({"number": 1, "region": 1}, True))
    wait_both_grants(regions, regions.singapore)


def the_standby_alone_stops_nothing(regions):
    for member in regions.sydney.members.values():
        member.kill()
    writes_go_on(regions.singapore, LEASE_S + 1)
    wait_for("a grant of the witness's alone", lambda: holds(regions.singapore, "witness_ms", "standby_ms"))
    for member in regions.sydney.members.values():
        member.spawn()
    for member in regions.sydney.members.values():
        expect(member.wait_ready())
    wait_level(regions)
    wait_both_grants(regions, regions.singapore)


class Client(threading.Thread):
    """Does one thing again and again at a region's own servers, and notes each time one was done."""

    def __init__(self, region, *arguments):
        super().__init__()
        self.region = region
        self.arguments = arguments
        self.stopping = threading.Event()
        self.done = []  # when each was begun and answered

    def run(self):
        while not self.stopping.is_set():
            began = time.monotonic()
            result = self.region.run(*self.arguments, "--timeout", "500ms", timeout=60)
            if result.returncode == DONE:
                self.done.append((began, time.monotonic()))

    def stop(self):
        self.stopping.set()
        self.join()


def a_primary_that_is_cut_off_stops(regions):
    singapore, sydney = regions.singapore, regions.sydney
    wait_level(regions)
    old = [Client(singapore, "put", "notes", "old", "1"), Client(singapore, "get", "notes", "on")]
    new = Client(sydney, "put", "notes", "new", "1")
    for client in old:
        client.start()
    try:
        wait_for("answers", lambda: all(len(client.done) > 2 for client in old))
        regions.cut_singapore()
        cut = time.monotonic()
        # A standby sends a writer on to the primary, which is none of what is looked for here.
        wait_for("a promotion", lambda: (status(sydney) or {}).get("role") == "primary")
        new.start()
        wait_for("a write", lambda: new.done)
    finally:
        for client in old:
            client.stop()
        if new.is_alive():
            new.stop()
    print("the old primary's last answer came %.2f s after the cut, the new one's first %.2f s" % (
        max(client.done[-1][1] for client in old) - cut, new.done[0][1] - cut), flush=True)
    # When a client has an answer is later than when it was given, by as long as its process is held up: what
    # was answered too late for certain is what was begun too late. Its last lease was asked for before the cut.
    last = max(began for client in old for began, _ in client.done)
    expect(last < new.done[0][1], "the old primary answered after the new one's first write", last - new.done[0][1])
    expect(last < cut + LEASE_S, "the old primary answered after its lease", last - cut)
    expect_equal(singapore.run("put", "notes", "late", "1", "--timeout", "1s").returncode != DONE, True)
    found = lease(singapore)
    expect(found is None or not found["held"], found)
    expect("automatic" in "".join(member.log() for member in sydney.members.values()), "no audit line")
    expect_equal(regions.witness.status()["epoch"]["region"], 2)
    regions.resume()
    wait_for("a standby", lambda: (status(singapore) or {}).get("role") == "standby")
    wait_level(regions, seconds=120)
    wait_both_grants(regions, sydney)


def a_standby_takes_over_by_itself(regions):
    """The primary region's servers are all killed, and with them the standby's leader: the next one knows how
    old the data is. A client that knows both regions goes on."""
    lost, heir = regions.sydney, regions.singapore
    leader = heir.leader()
    for member in heir.members.values():
        alone = heir.environment(member.clients)
        wait_for("an age", lambda way=alone: run([STRAIT, "get", "notes", "on", "--max-staleness", "30s"],
                                                 env=way).returncode == DONE)
    environment = heir.environment(",".join(member.clients for region in (lost, heir) for member in region.members.values()))
    for member in (*lost.members.values(), leader):
        member.kill()
    began = time.monotonic()
    wait_for("a write", lambda: run([STRAIT, "put", "notes", "heir", "1", "--timeout", "1s"],
                                    env=environment).returncode == DONE)
    took = time.monotonic() - began
    print("from the loss of the primary to the first write: %.2f s" % took, flush=True)
    expect(took < 30, took)
    wait_for("the primary", lambda: (status(heir) or {}).get("role") == "primary")
    for member in (*lost.members.values(), leader):
        member.spawn()
    for member in (*lost.members.values(), leader):
        expect(member.wait_ready())
    wait_level(regions, seconds=120)


def refuses(region, text, *arguments):
    """What is asked is refused in the end with that text, which may be another one at first."""
    def refused():
        result = region.run(*arguments)
        expect(result.returncode != DONE, result.stdout)
        return text in result.stderr
    wait_for(text, refused)


def a_standby_that_was_removed_is_not_promoted(regions):
    """Once it is taken out of the list, the primary goes on without any lease: so the witness has to know first."""
    singapore, sydney = regions.singapore, regions.sydney
    wait_both_grants(regions, singapore)
    regions.to_witness.tell("cut")
    refuses(singapore, b"--force", "region", "remove", "sydney")
    regions.to_witness.tell("drop")
    regions.to_witness.tell("resume")
    wait_both_grants(regions, singapore)
    expect_equal(regions.witness.status()["listed"], [1, 2])

    regions.between.tell("cut")
    singapore.strait("region", "remove", "sydney")
    expect_equal(regions.witness.status()["listed"], [1])
    regions.to_witness.tell("cut")
    writes_go_on(singapore, LEASE_S + 1)
    refuses(sydney, b"taken it out", "region", "promote", "sydney")
    expect_equal(status(sydney)["role"], "standby")
    writes_go_on(singapore, 1)

    regions.resume()
    singapore.strait("region", "add", "sydney", "--id", "2", "--endpoints", ",".join(regions.endpoints[sydney]))
    wait_level(regions, seconds=120)
    wait_both_grants(regions, singapore)
    wait_for("the list", lambda: regions.witness.status()["listed"] == [1, 2])


def switchovers_take_leases_along(regions):
    wait_both_grants(regions, regions.singapore)
    # It is refused for as long as the standby was not heard lately.
    wait_for("a switchover", lambda: regions.singapore.run("region", "switchover", "sydney").returncode == DONE)
    began = time.monotonic()
    wait_for("a write", lambda: regions.sydney.run("put", "notes", "handed", "over", "--timeout", "1s").returncode == DONE)
    print("from a switchover to the first write: %.2f s" % (time.monotonic() - began), flush=True)
    wait_both_grants(regions, regions.sydney)


def test_two_regions_and_a_witness(context):
    regions = Witnessed(start=False)
    context.servers.append(regions)
    regions.start()
    regions.singapore.strait("table", "create", "notes")
    wait_level(regions)
    wait_both_grants(regions, regions.singapore)
    for step in (the_witness_alone_stops_nothing, the_standby_alone_stops_nothing, a_primary_that_is_cut_off_stops,
                 a_standby_takes_over_by_itself, a_standby_that_was_removed_is_not_promoted, switchovers_take_leases_along):
        began = time.monotonic()
        step(regions)
        print("%s: %.1f s" % (step.__name__, time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main(globals())
