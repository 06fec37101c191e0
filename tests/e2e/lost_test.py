# SPDX-License-Identifier: Apache-2.0
"""What a region gave up when it came back: acknowledged is kept or reported, transaction by transaction;
and what is reported can be done again, once."""
import json
import os
import shutil
import stat
import time

from harness import BUILD, DONE, REFUSED, expect, expect_equal, main, run
from regions import Regions, status, wait_level

WRITER = os.path.join(BUILD, "tests", "e2e", "e2e_writer")


def each(region, act):
    for member in region.members.values():
        getattr(member, act)()


def load(region, seed, seconds, path):
    """Drives the region, and gives the tokens that were acknowledged, and those that were refused."""
    result = run([WRITER, str(seed), str(seconds), "16", path], env=region.environment(), timeout=120)
    expect_equal(result.returncode, 0, "the writer", result.stderr)
    done, refused = set(), set()
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if words[0] == "done":
                done.add(words[2])
            elif words[0] == "refused":
                refused.add(words[3])
    expect(len(done) > 100, len(done), "transactions were acknowledged")
    return done, refused


def outcomes(region, tokens):
    """What the region's leader says became of each, asked through one shell."""
    tokens = sorted(tokens)
    lines = "".join("txn status %s --json\n" % token for token in tokens)
    result = run([os.path.join(BUILD, "strait"), "shell"], stdin=lines.encode(),
                 env=region.environment(), timeout=240)
    expect_equal(result.returncode, 0, "strait shell", result.stderr[-1000:])
    decoder, text, states = json.JSONDecoder(), result.stdout.decode(), []
    while text.strip():
        text = text.lstrip()
        found, end = decoder.raw_decode(text)
        states.append(found["state"])
        text = text[end:]
    expect_equal(len(states), len(tokens), "answers")
    return dict(zip(tokens, states))


def wait_follows(region, seconds=90):
    until = time.monotonic() + seconds
    while True:
        found = status(region)
        if found is not None and found["role"] == "standby" and found["epoch"]["region"] == 2:
            return
        expect(time.monotonic() < until, "the old primary does not follow:", found)
        time.sleep(0.1)


def promote(region, seconds=60):
    """Its leader was elected just now, and may know only little of what its log holds."""
    until = time.monotonic() + seconds
    while True:
        result = region.run("region", "promote", "sydney", "--force")
        if result.returncode == DONE:
            return
        print("promotion refused:", result.stderr.decode("utf-8", "replace").strip(), flush=True)
        expect(time.monotonic() < until, "the standby is not promoted")
        time.sleep(0.2)


def lose_singapore(context):
    """Singapore comes back to Sydney's reign with a tail. Gives both, and what was acknowledged."""
    regions = context.server(Regions)
    singapore, sydney = regions.singapore, regions.sydney
    for table in ("puts", "counters", "twins", "slots", "claims"):
        singapore.strait("table", "create", table)
    singapore.strait("index", "create", "claims", "by_name", "--unique")
    before, _ = load(singapore, 1, 2, os.path.join(regions.folder, "before.log"))
    wait_level(regions)
    each(sydney, "kill")
    tail, refused = load(singapore, 2, 2, os.path.join(regions.folder, "tail.log"))
    each(singapore, "kill")
    # One of them has nothing to go back to, and is given the state of another that had: with the report.
    for number in (1, 2):
        shutil.rmtree(os.path.join(list(singapore.members.values())[-1].store, "rewind-%d" % number),
                      ignore_errors=True)
    each(sydney, "start")
    promote(sydney)
    each(singapore, "start")
    wait_follows(singapore)
    wait_level(regions)
    return regions, before | tail, refused


def test_acknowledged_is_kept_or_reported(context):
    regions, acknowledged, refused = lose_singapore(context)
    singapore, sydney = regions.singapore, regions.sydney
    reports = singapore.json("region", "lost", "list")["reports"]
    expect_equal(len(reports), 1, "reports")
    number = str(reports[0]["report"])
    # Any of its members has it, and the same.
    shown = singapore.json("region", "lost", "show", number, "--limit", "0")
    expect_equal(shown["shown"], reports[0]["entries"])
    items = {item["txn"]: item for item in shown["items"] if "txn" in item}
    for member in singapore.members.values():
        found = json.loads(run([os.path.join(BUILD, "strait"), "region", "lost", "show", number, "--limit", "0",
                                "--endpoint", member.clients, "--json"], env=singapore.environment()).stdout)
        expect(found["items"] == shown["items"], "another report at", member.name)

    reported = {token for token, item in items.items() if item["outcome"] == "OK"}
    kept = acknowledged - reported
    states = outcomes(sydney, acknowledged)
    expect_equal({token for token in kept if states[token] != "committed"}, set(), "neither kept nor reported")
    expect_equal({token for token in reported & acknowledged if states[token] != "unknown"}, set(), "both")
    expect(len(reported & acknowledged) > 100, "the tail is reported")
    for token in refused & set(items):
        expect_equal(items[token]["state"], "refused", token)
    expect(all(items[token]["state"] == "lost" for token in reported), "states of what is lost")
    expect(not any("value" in operation for item in items.values() for operation in item["operations"]),
           "values are shown")

    path = os.path.join(regions.folder, "lost.json")
    singapore.strait("region", "lost", "export", number, path)
    expect_equal(stat.S_IMODE(os.stat(path).st_mode), 0o600)
    with open(path, encoding="utf-8") as file:
        saved = [json.loads(line) for line in file]
    expect_equal(len(saved), reports[0]["entries"])
    expect(any("value" in operation for item in saved for operation in item.get("operations", [])), "no values")

    # One is done again, and is known then; so are all others, once.
    chosen = sorted(reported & acknowledged)[0]
    singapore.strait("region", "lost", "replay", number, "--txn", chosen)
    found = singapore.json("region", "lost", "show", number, "--limit", "0")["items"]
    expect_equal([item["state"] for item in found if item.get("txn") == chosen], ["redone"])
    result = singapore.run("region", "lost", "replay", number, "--json")
    first = json.loads(result.stdout)
    expect_equal(first["results"]["already_there"], 1, first["results"])
    expect_equal(first["results"]["too_old"], 0)
    expect_equal(result.returncode, 0 if first["results"]["refused"] == 0 else REFUSED)
    print("%d acknowledged, %d kept, %d reported; replayed: %s"
          % (len(acknowledged), len(kept), len(reported), first["results"]), flush=True)
    second = json.loads(singapore.run("region", "lost", "replay", number, "--json").stdout)
    expect_equal(second["results"]["applied"], 0, second["results"])
    expect_equal(second["results"]["already_there"], 1 + first["results"]["applied"])
    states = outcomes(sydney, reported)
    results = {item["txn"]: item["result"] for item in first["items"]}
    for token in reported - {chosen}:
        expect_equal(states[token] == "committed", results[token] == "applied", token, results[token])

    singapore.strait("region", "lost", "close", number)
    expect(singapore.json("region", "lost", "list")["reports"][0]["closed"], "it is open")
    singapore.strait("region", "lost", "show", number, status=REFUSED)
    singapore.strait("region", "lost", "close", number)
    wait_level(regions)
    sydney.strait("region", "switchover", "singapore")
    singapore.strait("check", "--scrub")


if __name__ == "__main__":
    main(globals())
