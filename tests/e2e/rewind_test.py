# SPDX-License-Identifier: Apache-2.0
"""Two regions: the primary is lost with a tail that the other one never had. It comes back, gives the
tail up by itself, and follows; then it takes the reign back."""
import os
import shutil

from harness import expect, expect_equal, main
from regions import Regions, status, wait_for, wait_level, write


def keys(region, *consistency):
    return {record["key"] for record in region.json("scan", "t", "--limit", "0", *consistency)["records"]}


def each(region, act):
    for member in region.members.values():
        getattr(member, act)()


def test_an_old_primary_rewinds(context):
    regions = context.server(Regions)
    singapore, sydney = regions.singapore, regions.sydney
    singapore.strait("table", "create", "t")
    write(singapore, "shared", 5)

    def each_has_a_checkpoint():
        return all(any(os.path.isdir(os.path.join(member.store, "rewind-%d" % number)) for number in (1, 2))
                   for member in singapore.members.values())
    wait_for(each_has_a_checkpoint)
    write(singapore, "later", 5)
    wait_level(regions)
    shared = keys(singapore)

    # What is written from here on is Singapore's alone.
    each(sydney, "kill")
    write(singapore, "tail", 10)
    # One of them has the tail in its tables, and nothing to go back to: it is given the state of another.
    bare = list(singapore.members.values())[-1]
    bare.stop()
    for number in (1, 2):
        shutil.rmtree(os.path.join(bare.store, "rewind-%d" % number), ignore_errors=True)
    for member in singapore.members.values():
        if member is not bare:
            member.kill()
    each(sydney, "start")
    sydney.strait("region", "promote", "sydney", "--force")
    write(sydney, "new", 5)
    expected = shared | {"new-%d" % i for i in range(5)}
    expect_equal(keys(sydney), expected)

    each(singapore, "start")

    def it_follows():
        found = status(singapore)
        expect(found is None or found["role"] in ("primary", "standby", "rewinding"), found)
        return found is not None and found["role"] == "standby" and found["epoch"]["region"] == 2
    wait_for(it_follows)

    def the_bare_one_is_rebuilt():
        return "event=rebuilt" in bare.log()
    wait_for(the_bare_one_is_rebuilt)
    level = wait_level(regions)
    expect_equal(level[1], 2, "the epoch is Sydney's")
    expect_equal(status(singapore)["trouble"], "")
    for member in singapore.members.values():
        log = member.log()
        expect(("event=rewound" in log) == (member is not bare), member.name, log[-3000:])
        expect(("event=rebuild_begun" in log) == (member is bare), member.name, log[-3000:])
        expect("event=replica_differs" not in log, member.name, log[-3000:])

    sydney.strait("region", "switchover", "singapore")
    expect_equal(keys(singapore), expected)
    write(singapore, "back", 3)
    wait_level(regions)
    singapore.strait("check", "--scrub")


if __name__ == "__main__":
    main(globals())
