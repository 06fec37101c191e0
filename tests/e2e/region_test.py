# SPDX-License-Identifier: Apache-2.0
"""What an operator does to a region under load: a leader killed, members changed, a disk lost, a rolling
restart. No client sees an error."""
import json
import os
import threading
import time

from harness import DONE, ROOT, SHARED_DATA, Server, expect, expect_equal, main, skip
from paced import Paced
from region import Member, Region

REAL = os.path.join(SHARED_DATA, "online_retail_2010_12.csv.gz")
SAMPLE = os.path.join(ROOT, "server", "sample", "orders.csv")
TABLES = ("orders", "customers", "stock")
RATE = 150


def sample_repeated(folder, times, first=1):
    """The sample with so many times its invoices, whose numbers are new for each `first`."""
    with open(SAMPLE, encoding="latin-1", newline="") as file:
        header, *rows = file.read().splitlines(keepends=True)
    path = os.path.join(folder, "orders.csv")
    with open(path, "w", encoding="latin-1", newline="") as file:
        file.write(header)
        for i in range(times):
            for row in rows:
                invoice, rest = row.split(",", 1)
                letter = invoice[:1] if invoice[:1].isalpha() else ""
                file.write("%s%d%s,%s" % (letter, first + i, invoice[len(letter):], rest))
    return path


def records(server):
    """All records of all tables without their versions: those of repeated attempts may differ."""
    found = {}
    for table in TABLES:
        listed = server.json("scan", table, "--limit", "0", timeout=240)["records"]
        found[table] = [(record["key"], record["value"]) for record in listed]
    return found


def totals(summary):
    return {name: value for name, value in summary.items()
            if name in ("invoices", "skus", "customers", "cancellation_invoices", "cancellation_lines", "units_sold",
                        "units_returned", "units_written_off", "revenue", "lines", "rejected_lines",
                        "loaded_invoices", "refused_invoices")}


def status_of(member):
    result = member.run("status", "--json")
    expect_equal(result.returncode, DONE, result.stderr)
    return json.loads(result.stdout)


def wait_same_index(region):
    """All members have applied as much, and none finds fault with another's state."""
    until = time.monotonic() + 60
    while True:
        found = [status_of(member) for member in region.members.values()]
        if len({(one["log_index"], one["version"]) for one in found}) == 1:
            break
        expect(time.monotonic() < until, "the members do not come to the same index",
               [(one["member"], one["role"], one["log_index"]) for one in found])
        time.sleep(0.1)
    for one in found:
        expect_equal(one["alarms"], [], one["member"])


def lead(region, member, seconds=60):
    """Hands the leadership to it."""
    until = time.monotonic() + seconds
    while region.leader() is not member:
        result = region.run("leader", "transfer", member.name)
        expect(time.monotonic() < until, member.name, "does not lead:", result.stderr)


def expect_same_everywhere(region, read):
    """What is read is the same whichever member leads."""
    seen = {}
    for name, member in region.members.items():
        lead(region, member)
        seen[name] = read(region)
    first = next(iter(seen.values()))
    for name, one in seen.items():
        expect(one == first, name, "does not hold what the others do")
    return first


def kill_leader_within(region, load, commits_count):
    """Once so many commits are applied, and before the load is done."""
    while True:
        leader = region.leader()
        if status_of(leader)["metrics"]["commits_count"] > commits_count:
            break
        expect(load.poll() is None, "the load ended before its leader could be killed")
    expect(load.poll() is None, "the load ended before its leader was killed")
    leader.kill()
    return leader


def load_through_a_killed_leader(context, path):
    single = context.server(kind=Server)
    wanted = totals(single.json("load", "retail", path, timeout=240))
    wanted_records = records(single)
    single.close()
    region = context.server(kind=Region)
    load = region.spawn("load", "retail", path, "--json", "--quiet", "--timeout", "60s")
    leader = kill_leader_within(region, load, 200)
    leader.start()
    out, said = load.communicate(timeout=240)
    expect_equal(load.returncode, DONE, "the load", said)
    expect_equal(totals(json.loads(out)), wanted)
    wait_same_index(region)
    expect(expect_same_everywhere(region, records) == wanted_records,
           "the region does not hold what one node does")


def test_orders_real(context):
    if not os.path.exists(REAL):
        skip("the real orders are not at %s" % REAL)
    load_through_a_killed_leader(context, REAL)


def test_orders_sample(context):
    region = context.server(kind=Region, start=False)  # for its folder
    load_through_a_killed_leader(context, sample_repeated(region.folder, 10))


def begin(context, **options):
    region = context.server(kind=Region, **options)
    region.strait("table", "create", "paced")
    load = Paced(region, RATE)
    load.wait_more(30)
    return region, load


def end(region, load):
    load.wait_more(30)
    load.end()
    load.expect_no_errors()
    load.expect_all_there(region)
    wait_same_index(region)


class Orders(threading.Thread):
    """Loads orders, one file after another, until it is ended."""

    def __init__(self, region):
        super().__init__()
        self.region = region
        self.is_ending = threading.Event()
        self.orders_count = 0
        self.failed = None
        self.start()

    def run(self):
        files_count = 0
        while self.failed is None and not self.is_ending.is_set():
            files_count += 1
            path = sample_repeated(self.region.folder, 1, files_count)
            result = self.region.run("load", "retail", path, "--json", "--quiet", "--timeout", "60s", timeout=240)
            if result.returncode != DONE:
                self.failed = result.stderr
            else:
                self.orders_count += json.loads(result.stdout)["loaded_invoices"]

    def end(self):
        self.is_ending.set()
        self.join()
        expect(self.failed is None, "the load of orders failed:", self.failed)
        expect(self.orders_count > 0, "no orders were loaded")
        found = self.region.json("scan", "orders", "--limit", "0", "--keys", timeout=240)["records"]
        expect_equal(len(found), self.orders_count, "orders in the table")


def kinds(region):
    return {item["name"]: item["kind"] for item in region.json("member", "list")["members"]}


def test_members_changed_under_load(context):
    """A fourth and a fifth member, the fourth in place of a first one, the leader removed."""
    region, load = begin(context, spare=("n4", "n5"))
    for name in ("n4", "n5"):
        region.members[name] = Member(region, name)
    orders = Orders(region)
    try:
        change_members(region, load)
    finally:
        orders.is_ending.set()
    orders.end()
    end(region, load)


def change_members(region, load):
    n4, n5 = region.members["n4"], region.members["n5"]
    n4.start()
    region.strait("member", "add", "n4", n4.peers)
    expect_equal(kinds(region)["n4"], "learner")
    region.strait("member", "promote", "n4", "--wait", "1m")
    expect_equal(kinds(region)["n4"], "voter")
    load.wait_more(30)
    n5.start()
    region.strait("member", "replace", "n2", "n5", n5.peers, "--wait", "1m")
    expect_equal(kinds(region), {"n1": "voter", "n3": "voter", "n4": "voter", "n5": "voter"})
    region.members.pop("n2").close()
    load.wait_more(30)
    # The one that leads is replaced too: it hands over first.
    leader = region.leader()
    region.strait("leader", "transfer", "n4" if leader.name != "n4" else "n5")
    region.strait("member", "remove", leader.name)
    region.members.pop(leader.name).close()
    expect(leader.name not in kinds(region), leader.name, "is still a member")


def test_a_disk_lost(context):
    """A member whose disk is gone is nobody the region knows, until the admin says so."""
    region, load = begin(context, spare=("n4",))
    leader = region.leader()
    member = next(one for one in region.members.values() if one is not leader)
    before = {item["name"]: item["id"] for item in region.json("member", "list")["members"]}
    member.kill()
    member.wipe()
    member.start()
    load.wait_more(50)
    # Its name is the same, its identity another: it waits, and has been given nothing.
    alone = status_of(member)
    expect_equal(alone["role"], "waiting", "a wiped member's role")
    expect_equal((alone["log_index"], alone["version"]), (0, 0), "a wiped member was given the log by itself")
    listed = {item["name"]: item for item in region.json("member", "list")["members"]}
    expect_equal(listed[member.name]["id"], before[member.name])
    # The two commands: out with what is lost, in with a new one.
    region.strait("member", "remove", member.name)
    region.strait("member", "add", member.name, member.peers)
    region.strait("member", "promote", member.name, "--wait", "1m")
    listed = {item["name"]: item for item in region.json("member", "list")["members"]}
    expect_equal(listed[member.name]["kind"], "voter")
    expect(listed[member.name]["id"] != before[member.name], "the new member has the old identity")
    end(region, load)


def test_a_disk_lost_and_replaced(context):
    """`member replace`, with another name for what comes in the place of the lost one."""
    region, load = begin(context, spare=("n4",))
    leader = region.leader()
    member = next(one for one in region.members.values() if one is not leader)
    member.kill()
    region.members["n4"] = n4 = Member(region, "n4")
    n4.start()
    region.strait("member", "replace", member.name, "n4", n4.peers, "--wait", "1m")
    expect(member.name not in kinds(region) and kinds(region)["n4"] == "voter", kinds(region))
    region.members.pop(member.name).close()
    end(region, load)


def test_rolling_restart(context):
    """Each member stopped as an operator does, and started again; the leader last hands over."""
    region, load = begin(context)
    gap_ms = 0
    for name in list(region.members):
        member = region.members[name]
        from_ns = time.monotonic_ns()
        was_leader = region.leader() is member
        member.stop()
        if was_leader:
            expect("leadership_handed_over" in member.log(), name, "did not hand its leadership over")
        load.wait_more(30)
        member.start()
        wait_caught_up(region, name)
        load.wait_more(30)
        gap_ms = max(gap_ms, load.longest_gap_ms(from_ns))
    # Once more for the leader, whichever it is now.
    leader = region.leader()
    leader.stop()
    expect("leadership_handed_over" in leader.log()[-3000:], leader.name, "did not hand its leadership over")
    load.wait_more(30)
    leader.start()
    end(region, load)
    print("longest gap between acknowledged writes: %.0f ms" % load.longest_gap_ms(), flush=True)


def test_any_member_reads_at_least_at_a_position(context):
    """What was just written is read from a follower, by its position, and counted there."""
    region = context.server(kind=Region)
    region.strait("table", "create", "t")
    leader = region.leader()
    for member in region.members.values():
        made = region.json("put", "t", "k", member.name)
        before = status_of(member)["metrics"]["reads_stale_count"]
        result = member.run("get", "t", "k", "--at-least", made["position"])
        expect_equal(result.returncode, DONE, result.stderr)
        expect_equal(result.stdout.decode("utf-8"), member.name + "\n")
        result = member.run("scan", "t", "--at-least", made["position"], "--json")
        expect_equal(result.returncode, DONE, result.stderr)
        expect_equal([record["value"] for record in json.loads(result.stdout)["records"]], [member.name])
        after = status_of(member)["metrics"]["reads_stale_count"]
        expect(after >= before + 2, member.name, "did not answer by itself:", before, after)
    expect(region.leader() is leader, "the leadership changed meanwhile")


def wait_caught_up(region, name, seconds=60):
    """Before the next one may be stopped: what an operator looks at."""
    until = time.monotonic() + seconds
    while True:
        for item in region.json("member", "list")["members"]:
            if item["name"] == name and (item["self"] or (item["connected"] and item["answered_ago_ms"] is not None
                                         and item["lag_entries"] < 100)):
                return
        expect(time.monotonic() < until, name, "does not catch up")
        time.sleep(0.05)


if __name__ == "__main__":
    main(globals())
