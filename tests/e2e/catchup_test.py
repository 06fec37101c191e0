# SPDX-License-Identifier: Apache-2.0
"""Two regions: the second one is added when the primary's log does not reach back to its beginning
any more. It catches up by a checkpoint of the primary's, follows, and takes over."""
import re

from harness import expect, expect_equal, main
from regions import Regions, status, wait_for, wait_level, write

RECORDS = 40


def records(region, *consistency):
    found = region.json("scan", "t", "--limit", "0", *consistency)["records"]
    return {record["key"]: record["value"] for record in found}


def restart(region):
    """Writes what is in memory as tables, and begins a segment of the log."""
    for member in region.members.values():
        member.stop()
    for member in region.members.values():
        member.start()


def log_begins_at(member):
    """The index before the first entry that its log has since its start, as it says itself."""
    found = re.findall(r"event=log_recovered entries=(\d+) last_index=(\d+)", member.log())[-1]
    return int(found[1]) - int(found[0])


def begin(context):
    """A primary whose log begins behind its first versions, and the standby, which is not started."""
    regions = context.server(Regions, start=False)
    singapore, sydney = regions.singapore, regions.sydney
    singapore.start()
    singapore.strait("table", "create", "t")
    write(singapore, "before", RECORDS)

    def each_log_begins_later():
        if all(log_begins_at(member) > RECORDS for member in singapore.members.values()):
            return True
        restart(singapore)
        return False
    wait_for(each_log_begins_later)
    for name, number, region in (("singapore", 1, singapore), ("sydney", 2, sydney)):
        singapore.strait("region", "add", name, "--id", str(number), "--endpoints",
                         ",".join(member.clients for member in region.members.values()))
    return regions


def adopted_count(region):
    return sum(member.log().count("event=adopted") for member in region.members.values())


def test_a_region_that_is_added_late_catches_up(context):
    regions = begin(context)
    singapore, sydney = regions.singapore, regions.sydney
    sydney.start()
    wait_level(regions)
    expect_equal(adopted_count(sydney), 1, "one member takes the checkpoint, the others its snapshot")

    def it_was_sent():
        return "event=region_checkpoint_sent" in "".join(member.log() for member in singapore.members.values())
    wait_for(it_was_sent)
    expect_equal(status(sydney)["trouble"], "")
    expect_equal(status(sydney)["checkpoint"], None)

    # It follows from there, entry by entry, and keeps its own members and their log.
    write(singapore, "after", 5)
    wait_level(regions)
    expected = records(singapore)
    expect_equal(len(expected), RECORDS + 5)
    restart(sydney)
    wait_level(regions)
    singapore.strait("region", "switchover", "sydney")
    expect_equal(records(sydney), expected)
    write(sydney, "new", 3)
    wait_level(regions)
    sydney.strait("check", "--scrub")
    for region in (singapore, sydney):
        for member in region.members.values():
            log = member.log()
            expect("event=replica_differs" not in log, member.name, log[-3000:])
    sydney.strait("region", "switchover", "singapore")
    expect_equal(len(records(singapore)), RECORDS + 8)


if __name__ == "__main__":
    main(globals())
