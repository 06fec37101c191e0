#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A rolling upgrade: the servers of a region are started anew with a newer program, one at a time, under load."""
import time

from harness import REFUSED, STRAITD, STRAITD_NEXT, expect, expect_equal, main
from region import Member, Region
from region_test import begin, end, status_of, wait_caught_up


def versions_of(region):
    """The active one as each server says, and what the leader knows of each program."""
    active = {status_of(member)["cluster_version"] for member in region.members.values()}
    members = region.json("member", "list")["members"]
    return active, {item["name"]: item["cluster_version_max"] for item in members}


def wait_version(region, version, seconds=60):
    until = time.monotonic() + seconds
    while versions_of(region)[0] != {version}:
        expect(time.monotonic() < until, "the cluster version does not rise to", version, versions_of(region))
        time.sleep(0.1)


def upgrade(region, member, load):
    """As an operator does: hands over what leads, stops, starts the other program, looks."""
    if region.leader() is member:
        region.strait("leader", "transfer")
    member.stop()
    member.program = STRAITD_NEXT
    member.start()
    wait_caught_up(region, member.name)
    load.wait_more(30)


def refused(region, *arguments):
    result = region.run(*arguments)
    said = result.stderr.decode("utf-8", "replace")
    expect_equal(result.returncode, REFUSED, *arguments, said)
    return said


def test_rolling_upgrade(context):
    """No error at the client; what the newer program changes begins once all have it, and then for good."""
    region, load = begin(context)
    first, second, last = region.members.values()
    expect_equal(versions_of(region), ({1}, {"n1": 1, "n2": 1, "n3": 1}))
    for member in (first, second):
        upgrade(region, member, load)
    expect_equal(versions_of(region)[0], {1}, "raised before all can apply it:")
    # Until then the older program may come back.
    second.stop()
    second.program = STRAITD
    second.start()
    wait_caught_up(region, second.name)
    upgrade(region, second, load)
    upgrade(region, last, load)
    wait_version(region, 2)
    expect_equal(versions_of(region)[1], {"n1": 2, "n2": 2, "n3": 2})
    end(region, load)
    region.strait("check", "--scrub")

    first.stop()
    first.program = STRAITD
    first.refuses_to_start("The cluster version is 2", "can apply 1 at most", "Start the newer program")
    first.program = STRAITD_NEXT
    first.start()
    wait_caught_up(region, first.name)
    end_state = {status_of(member)["cluster_version"] for member in region.members.values()}
    expect_equal(end_state, {2})


def test_held_back(context):
    """`upgrade_held`: it rises when an admin asks, not before; from there on no older program is let in."""
    region = context.server(kind=Region, count=1, spare=["n2", "n3"], start=False,
                            section=["upgrade_held: true"])
    first = region.members["n1"]
    first.program = STRAITD_NEXT
    first.bootstrap()
    region.members["n2"] = second = Member(region, "n2")
    second.start()
    region.strait("member", "add", "n2", second.peers)
    wait_caught_up(region, "n2")
    expect("The program of n2" in refused(region, "cluster", "upgrade"))
    second.stop()
    second.program = STRAITD_NEXT
    second.start()
    until = time.monotonic() + 60
    while versions_of(region)[1]["n2"] != 2:
        expect(time.monotonic() < until, "the leader does not hear of the newer program", versions_of(region))
        time.sleep(0.1)
    expect_equal(versions_of(region)[0], {1})
    expect_equal(region.json("cluster", "upgrade"), {"cluster_version": 2})
    wait_version(region, 2)

    region.members["n3"] = third = Member(region, "n3")
    third.start()
    said = refused(region, "member", "add", "n3", third.peers)
    expect("too old" in said and "Start the newer program there" in said, said)
    third.stop()
    third.program = STRAITD_NEXT
    third.start()
    region.strait("member", "add", "n3", third.peers)
    wait_version(region, 2)


if __name__ == "__main__":
    main(globals())
