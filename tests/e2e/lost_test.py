# SPDX-License-Identifier: Apache-2.0
"""What a region gave up when it came back: acknowledged is kept or reported, transaction by transaction;
and what is reported can be done again, once."""
import json
import os
import shutil
import signal
import stat
import time

from harness import BUILD, DONE, REFUSED, expect, expect_equal, main, run, spawn
from regions import Regions, wait_equal, wait_follows, wait_level

WRITER = os.path.join(BUILD, "tests", "e2e", "e2e_writer")


def each(region, act):
    for member in region.members.values():
        getattr(member, act)()


def create_tables(region):
    for table in ("puts", "counters", "twins", "slots", "claims"):
        region.strait("table", "create", table)
    region.strait("index", "create", "claims", "by_name", "--unique")


def read_log(path):
    """The tokens that were acknowledged, of these those that a standby confirmed, and the refused ones."""
    done, confirmed, refused = set(), set(), set()
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if not line.endswith("\n"):
                break
            if words[0] == "done":
                done.add(words[2])
            if words[0] == "done" and words[-1] == "confirmed":
                confirmed.add(words[2])
            if words[0] == "refused" and len(words) == 4:  # else it was never sent
                refused.add(words[3])
    return done, confirmed, refused


def load(region, seed, seconds, path):
    """Drives the region, and gives the tokens that were acknowledged, and those that were refused."""
    result = run([WRITER, str(seed), str(seconds), "16", path], env=region.environment(), timeout=120)
    expect_equal(result.returncode, 0, "the writer", result.stderr)
    done, _, refused = read_log(path)
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


def lose_singapore(context):
    """Singapore comes back to Sydney's reign with a tail. Gives both, and what was acknowledged."""
    regions = context.server(Regions)
    singapore, sydney = regions.singapore, regions.sydney
    create_tables(singapore)
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
    sydney.strait("region", "promote", "sydney", "--force")
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
    results = {item["txn"]: item["result"] for item in first["items"]}
    expect_equal(results[chosen], "already_there")
    # So is told, too, of one whose first answer was lost with a leader.
    done = first["results"]["already_there"] + first["results"]["applied"]
    expect_equal(first["results"]["too_old"], 0)
    expect_equal(result.returncode, 0 if first["results"]["refused"] == 0 else REFUSED)
    print("%d acknowledged, %d kept, %d reported; replayed: %s"
          % (len(acknowledged), len(kept), len(reported), first["results"]), flush=True)
    second = json.loads(singapore.run("region", "lost", "replay", number, "--json").stdout)
    expect_equal(second["results"]["applied"], 0, second["results"])
    expect_equal(second["results"]["already_there"], done)
    states = outcomes(sydney, reported)
    for token in reported:
        expect_equal(states[token] == "committed", results[token] in ("applied", "already_there"), token, results[token])

    singapore.strait("region", "lost", "close", number)
    expect(singapore.json("region", "lost", "list")["reports"][0]["closed"], "it is open")
    singapore.strait("region", "lost", "show", number, status=REFUSED)
    singapore.strait("region", "lost", "close", number)
    wait_level(regions)
    sydney.strait("region", "switchover", "singapore")
    singapore.strait("check", "--scrub")


def wait_done(writer, path, count, seconds=120):
    """Until so many were acknowledged."""
    until = time.monotonic() + seconds
    while len(read_log(path)[0]) < count:
        expect(writer.poll() is None, "the writer ended by itself")
        expect(time.monotonic() < until, "fewer than", count, "transactions were acknowledged")
        time.sleep(0.05)


def reported_items(region):
    """Of all reports, by token, where the region that gave them up had acknowledged them, or might have."""
    items = {}
    for report in region.json("region", "lost", "list")["reports"]:
        shown = region.json("region", "lost", "show", str(report["report"]), "--limit", "0", timeout=240)
        expect_equal(shown["shown"], report["entries"])
        items.update({item["txn"]: item for item in shown["items"] if "txn" in item and item["outcome"] == "OK"})
    return items


def check_accounts(regions, path):
    """Each that was acknowledged is kept or reported, as lost or as done again; each that was confirmed is
    kept. `singapore` has come back to the reign of `sydney`, and both are level."""
    done, confirmed, _ = read_log(path)
    items = reported_items(regions.singapore)
    states = outcomes(regions.sydney, done | set(items))
    kept = {token for token in done if states[token] == "committed"}
    lost = {token for token, item in items.items() if item["state"] == "lost"}
    redone = {token for token, item in items.items() if item["state"] == "redone"}
    expect_equal(done - kept - set(items), set(), "acknowledged, and neither kept nor reported")
    expect_equal(set(items) - lost - redone, set(), "reported, and neither lost nor done again")
    expect_equal({token for token in lost if states[token] == "committed"}, set(), "lost, and there")
    expect_equal({token for token in redone if states[token] != "committed"}, set(), "done again, and not there")
    expect_equal(confirmed - kept, set(), "confirmed by the standby, and not kept")
    print("%d acknowledged = %d kept + %d lost; reported: %d lost, %d redone; %d confirmed, all kept" % (
        len(done), len(kept), len(done & lost), len(lost), len(redone), len(confirmed)), flush=True)
    expect_equal(len(done), len(kept) + len(done & lost))


def test_a_primary_lost_under_load(context):
    """All of Singapore is killed while it takes writes, with Sydney 45 ms away; the writers go on there, and
    while they do, Singapore comes back."""
    regions = context.server(Regions, delay_ms=45)
    singapore, sydney = regions.singapore, regions.sydney
    create_tables(singapore)
    path = os.path.join(regions.folder, "under-load.log")
    open(path, "w", encoding="ascii").close()
    everywhere = [member.clients for member in singapore.members.values()] + regions.endpoints(sydney)
    writer = spawn([WRITER, "3", "600", "32", path, "8"], env=singapore.environment(",".join(everywhere)))
    wait_done(writer, path, 1500)
    for member in singapore.members.values():
        member.process.kill()
    each(singapore, "kill")
    before = len(read_log(path)[0])
    begun = time.monotonic()
    sydney.strait("region", "promote", "sydney", "--force")
    wait_done(writer, path, before + 1)
    print("from the command to the next write acknowledged: %.2f s" % (time.monotonic() - begun), flush=True)
    wait_done(writer, path, before + 300)
    each(singapore, "start")
    wait_follows(singapore)
    writer.send_signal(signal.SIGTERM)
    expect_equal(writer.wait(timeout=120), 0, "the writer")
    wait_equal(regions)
    check_accounts(regions, path)


if __name__ == "__main__":
    main(globals())
