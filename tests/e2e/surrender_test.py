# SPDX-License-Identifier: Apache-2.0
"""Two regions: the primary is lost with a tail, and comes back without a checkpoint to go back to. It
reports the tail from its log, takes over a checkpoint of the new primary's, and follows; whatever is
killed meanwhile. What it reports can be done again, once."""
import glob
import json
import os
import shutil
import stat

from harness import BUILD, expect, expect_equal, main, run
from regions import Regions, status, wait_equal, wait_follows, wait_for, wait_level, write

TAIL = 12


def each(region, act):
    for member in region.members.values():
        getattr(member, act)()


def lose_checkpoints(region):
    for member in region.members.values():
        for path in glob.glob(os.path.join(member.store, "rewind-*")):
            shutil.rmtree(path)


def logs(region):
    return "".join(member.log() for member in region.members.values())


def keys(region):
    return {record["key"] for record in region.json("scan", "t", "--limit", "0")["records"]}


def come_back(context):
    """Singapore comes back with a tail that Sydney never had, and nothing to go back to."""
    regions = context.server(Regions)
    singapore, sydney = regions.singapore, regions.sydney
    singapore.strait("table", "create", "t")
    write(singapore, "shared", 5)
    wait_level(regions)
    each(sydney, "kill")
    write(singapore, "tail", TAIL)
    each(singapore, "stop")
    lose_checkpoints(singapore)
    each(sydney, "start")
    sydney.strait("region", "promote", "sydney", "--force")
    write(sydney, "new", 3)
    each(singapore, "start")
    return regions


def kill_leader(region, event):
    """As soon as a log has the event; what it says is durable by then, or is said again."""
    def it_is_said():
        return any("event=" + event in member.log() for member in region.members.values())
    wait_for(it_is_said)
    for member in region.members.values():
        if "event=" + event in member.log():
            member.kill()
            member.start()
            return


def test_a_tail_that_nothing_leads_back_from(context):
    regions = come_back(context)
    singapore, sydney = regions.singapore, regions.sydney
    kill_leader(singapore, "surrender_begun")
    kill_leader(singapore, "surrendered")
    wait_follows(singapore, 200)
    wait_equal(regions, 200)
    expect("event=adopted" in logs(singapore), "no checkpoint was taken over")
    expect_equal(status(singapore)["trouble"], "")

    reports = singapore.json("region", "lost", "list")["reports"]
    expect_equal(len(reports), 1, reports)
    expect_equal(reports[0]["unlisted"], None, "versions that are not listed")
    number = str(reports[0]["report"])
    shown = singapore.json("region", "lost", "show", number, "--limit", "0")
    items = [item for item in shown["items"] if "txn" in item]
    expect_equal({item["operations"][0]["key"] for item in items}, {"tail-%d" % i for i in range(TAIL)})
    expect(all(item["state"] == "lost" and item["outcome"] == "OK" for item in items), items)
    versions = {item["version"] for item in shown["items"]}
    expect_equal(versions, set(range(reports[0]["first_version"], reports[0]["last_version"] + 1)))
    for member in singapore.members.values():
        found = json.loads(run([os.path.join(BUILD, "strait"), "region", "lost", "show", number, "--limit", "0",
                                "--endpoint", member.clients, "--json"], env=singapore.environment()).stdout)
        expect_equal(found["items"], shown["items"], "another report at", member.name)
    path = os.path.join(regions.folder, "lost.json")
    singapore.strait("region", "lost", "export", number, path)
    expect_equal(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    expected = {"shared-%d" % i for i in range(5)} | {"new-%d" % i for i in range(3)}
    expect_equal(keys(sydney), expected)
    first = singapore.json("region", "lost", "replay", number)["results"]
    expect_equal((first["applied"], first["already_there"]), (TAIL, 0), first)
    second = singapore.json("region", "lost", "replay", number)["results"]
    expect_equal((second["applied"], second["already_there"]), (0, TAIL), second)
    expected |= {"tail-%d" % i for i in range(TAIL)}
    singapore.strait("region", "lost", "close", number)
    wait_level(regions)
    sydney.strait("region", "switchover", "singapore")
    expect_equal(keys(singapore), expected)
    write(singapore, "back", 2)
    wait_equal(regions, 200)
    singapore.strait("check", "--scrub")


if __name__ == "__main__":
    main(globals())
