# SPDX-License-Identifier: Apache-2.0
"""Damage on one member's disk: it is met by a check, a scrub, a read or a start, the member rebuilds its
state from another by itself, and clients see no error meanwhile."""
import glob
import json
import os
import time

from harness import DONE, REFUSED, expect, expect_equal, main
from paced import Paced
from region import Region
from region_test import status_of, wait_same_index

RATE = 100


def wait(what, condition, seconds=60):
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        expect(time.monotonic() < until, what, "did not come within", seconds, "s")
        time.sleep(0.1)


def tables_of(member):
    return sorted(glob.glob(os.path.join(member.store, "lsm", "*.table")))


def flip(path, share=0.3):
    """One bit of the file's first part, where its blocks are."""
    offset = int(os.path.getsize(path) * share)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x10]))


def with_tables(context, records=400):
    """A region of three whose members all have tables on disk."""
    region = context.server(kind=Region)
    region.strait("table", "create", "things")
    region.strait("table", "create", "paced")
    for i in range(records):
        region.strait("put", "things", "key-%04d" % i, "%04d" % i + "x" * 200)
    for member in region.members.values():
        member.stop()
        member.start()
    region.leader()
    for member in region.members.values():
        expect(tables_of(member), member.name, "has no table")
    return region


def follower(region):
    leader = region.leader()
    return next(member for member in region.members.values() if member is not leader)


def rebuilds(member):
    return status_of(member)["metrics"]["rebuilds_count"]


def wait_rebuilt(member, count=1):
    wait("the rebuild of " + member.name, lambda: rebuilds(member) >= count)


def expect_healthy(region):
    wait_same_index(region)
    found = region.json("check", "--scrub")
    expect_equal((found["agreed"], found["members"], found["differing"]), (3, 3, []))
    for member in region.members.values():
        result = member.run("check", "--json")
        expect_equal(result.returncode, DONE, member.name, result.stdout, result.stderr)


def test_a_check_meets_it_under_load(context):
    region = with_tables(context)
    member = follower(region)
    damaged = max(tables_of(member), key=os.path.getsize)
    load = Paced(region, RATE)
    load.wait_more(RATE)
    flip(damaged)
    result = member.run("check", "--json")
    expect_equal(result.returncode, REFUSED, result.stdout, result.stderr)
    expect(os.path.basename(damaged) in json.loads(result.stdout)["findings"][0]["file"], result.stdout)
    wait_rebuilt(member)
    load.wait_more(RATE)
    load.end()
    load.expect_no_errors()
    load.expect_all_there(region)
    expect(damaged not in tables_of(member), damaged, "is still there")
    expect("rebuild_begun" in member.log() and os.path.basename(damaged) in member.log(),
           "the damaged file is not named:", member.log()[-2000:])
    expect_healthy(region)


def test_a_leader_hands_over_first(context):
    region = with_tables(context)
    leader = region.leader()
    flip(max(tables_of(leader), key=os.path.getsize))
    result = leader.run("check", "--json")
    expect_equal(result.returncode, REFUSED, result.stdout, result.stderr)
    wait_rebuilt(leader)
    expect("leadership_handed_over" in leader.log(), leader.log()[-2000:])
    expect_healthy(region)


def test_a_start_meets_it(context):
    region = with_tables(context)
    member = follower(region)
    member.stop()
    for path in tables_of(member):
        flip(path, 0.99)
    member.start()
    wait_rebuilt(member)
    expect_healthy(region)
    # Nothing is left of it: the next start is one like any other.
    member.stop()
    member.start()
    expect_equal(rebuilds(member), 0)
    expect_healthy(region)


def test_killed_within_it_begins_again(context):
    region = with_tables(context)
    member = follower(region)
    others = [one for one in region.members.values() if one is not member]
    # Nobody can serve it.
    for one in others:
        one.stop()
    flip(max(tables_of(member), key=os.path.getsize))
    member.run("check", "--json")
    wait("the mark", lambda: os.path.exists(os.path.join(member.store, "rebuild")))
    expect_equal(status_of(member)["role"], "rebuilding")
    for _ in range(3):
        member.kill()
        member.start()
        expect_equal(status_of(member)["role"], "rebuilding")
    for one in others:
        one.start()
    wait_rebuilt(member)
    wait("the mark's end", lambda: not os.path.exists(os.path.join(member.store, "rebuild")))
    expect_healthy(region)


if __name__ == "__main__":
    main(globals())
