# SPDX-License-Identifier: Apache-2.0
"""Two regions: what is written in one comes to the other, the reign is handed over and back, and taken
over where the primary is lost; it comes back as a standby."""
import json
import os
import signal
import ssl
import subprocess
import threading
import time
import urllib.request

from harness import DONE, REFUSED, ROOT, STRAIT, expect, expect_equal, main
from regions import Regions, status, wait_level

SAMPLE = os.path.join(ROOT, "server", "sample", "orders.csv")
TABLES = ("orders", "customers", "stock")


def records(region):
    """All records of all tables, by whichever region is the primary."""
    return {table: [(record["key"], record["value"]) for record in
                    region.json("scan", table, "--limit", "0", timeout=240)["records"]]
            for table in TABLES}


def wait_role(region, role, seconds=30):
    until = time.monotonic() + seconds
    while True:
        found = status(region)
        if found is not None and found["role"] == role:
            return found
        expect(time.monotonic() < until, "no", role, found, region.log())
        time.sleep(0.05)


def what_is_written_comes(regions):
    regions.singapore.strait("load", "retail", SAMPLE, "--quiet", timeout=240)
    regions.loaded = records(regions.singapore)
    level = wait_level(regions)
    expect(level[2] > 100, level)
    found = status(regions.sydney)
    expect_equal(found["role"], "standby")
    expect_equal(found["trouble"], "")
    expect(found["age_ms"] is not None and found["age_ms"] < 5000, found)


def metrics(region):
    """What the region's leader exports, by name and labels."""
    trusted = ssl.create_default_context(cafile=region.authority.certificate)
    with urllib.request.urlopen("https://%s/metrics" % region.leader().http, context=trusted, timeout=10) as reply:
        lines = [line for line in reply.read().decode("utf-8").splitlines() if not line.startswith("#")]
    return dict(line.rsplit(" ", 1) for line in lines)


def wait_metric(region, name, label=""):
    """Until it is there: they are published each second."""
    until = time.monotonic() + 30
    while True:
        found = [float(value) for line, value in metrics(region).items() if line.startswith(name + "{") and label in line]
        if found:
            return found[0]
        expect(time.monotonic() < until, "no", name, metrics(region))
        time.sleep(0.1)


def lags_are_exported(regions):
    for name in ("versions", "bytes", "seconds"):
        expect(wait_metric(regions.singapore, "strait_standby_lag_" + name, 'of="sydney"') >= 0)
    expect_equal(wait_metric(regions.singapore, "strait_standby_ready", 'of="sydney"'), 1)
    expect(wait_metric(regions.sydney, "strait_region_age_seconds") < 60)


def a_standby_sends_writers_to_the_primary(regions):
    regions.sydney.strait("put", "stock", "sent-from-sydney", "1")
    expect_equal(regions.singapore.json("get", "stock", "sent-from-sydney")["value"], "1")
    regions.loaded = records(regions.singapore)


def switched_over_and_back(regions):
    for source, target in ((regions.singapore, "sydney"), (regions.sydney, "singapore")):
        begun = time.monotonic()
        source.strait("region", "switchover", target)
        expect(time.monotonic() - begun < 5, "it took", time.monotonic() - begun)
        taken = regions.sydney if target == "sydney" else regions.singapore
        wait_role(taken, "primary")
        taken.strait("put", "stock", "written-in-" + target, "1")
        wait_level(regions)
        # Asked again, nothing has to be done.
        source.strait("region", "switchover", target)
    regions.loaded = records(regions.singapore)


def a_standby_confirms_what_asks_for_it(regions):
    singapore = regions.singapore
    patient = ("--confirm-within", "60s")
    written = singapore.json("put", "stock", "paid", "1", "--durability", "remote:sydney", *patient)
    expect_equal((written["confirmed"], written["confirmed_by"]), (True, "sydney"))
    expect_equal(singapore.json("put", "stock", "paid", "2", "--durability", "remote", *patient)["confirmed_by"],
                 "sydney")
    expect("confirmed by sydney" in singapore.strait("del", "stock", "paid", "--durability", "remote:sydney", *patient))
    for region in ("perth", "singapore"):
        refused = singapore.run("put", "stock", "paid", "3", "--durability", "remote:" + region)
        expect_equal(refused.returncode, REFUSED)
    expect_equal(singapore.run("get", "stock", "paid").returncode, REFUSED, "it was not done")

    for member in regions.sydney.members.values():
        member.process.send_signal(signal.SIGSTOP)
    try:
        written = singapore.json("put", "stock", "paid", "4", "--durability", "remote:sydney",
                                 "--confirm-within", "500ms")
        expect_equal((written["confirmed"], written["confirmed_by"]), (False, ""))
        expect_equal(singapore.json("get", "stock", "paid")["value"], "4")
        asked = singapore.json("txn", "status", written["txn"], "--durability", "remote",
                               "--confirm-within", "200ms")
        expect_equal((asked["state"], asked["confirmed"]), ("committed", False))
    finally:
        for member in regions.sydney.members.values():
            member.process.send_signal(signal.SIGCONT)
    asked = singapore.json("txn", "status", written["txn"], "--durability", "remote:sydney",
                           "--confirm-within", "60s", timeout=90)
    expect_equal((asked["state"], asked["confirmed"], asked["confirmed_by"]), ("committed", True, "sydney"))
    expect_equal(asked["version"], written["version"])
    expect_equal(status(singapore)["unconfirmed"], 0)
    regions.loaded = records(singapore)


def a_guard_refuses_writes_that_a_standby_lacks(regions):
    regions.singapore.strait("region", "set", "sydney", "--guard", "refuse", "--lag", "1s")
    for member in regions.sydney.members.values():
        member.process.send_signal(signal.SIGSTOP)
    try:
        until = time.monotonic() + 30
        while True:
            result = regions.singapore.run("put", "stock", "guarded", "1", "--timeout", "500ms")
            if result.returncode != DONE:
                break
            expect(time.monotonic() < until, "never refused")
            time.sleep(0.1)
        expect(b"sydney" in result.stderr and b"refused" in result.stderr, result.stderr)
    finally:
        for member in regions.sydney.members.values():
            member.process.send_signal(signal.SIGCONT)
    regions.singapore.strait("put", "stock", "guarded", "2")  # once it has caught up
    regions.singapore.strait("region", "set", "sydney", "--guard", "alert")
    wait_level(regions)
    regions.loaded = records(regions.singapore)


def a_primary_that_answers_is_not_given_up(regions):
    result = regions.sydney.run("region", "promote", "sydney")
    expect_equal(result.returncode, REFUSED, result.stdout, result.stderr)
    explained = regions.sydney.json("region", "promote", "--explain")
    expect("lost" in str(explained) or explained, explained)
    expect_equal(status(regions.sydney)["role"], "standby")


def wait_trouble(region, *words, seconds=60):
    until = time.monotonic() + seconds
    while True:
        found = status(region)
        if found is not None and all(word in found["trouble"] for word in words):
            return
        expect(time.monotonic() < until, "never", words, found)
        time.sleep(0.1)


def a_lost_primary_is_replaced(regions):
    wait_level(regions)
    for member in regions.singapore.members.values():
        member.kill()
    wait_trouble(regions.sydney, "singapore cannot be reached: 127.0.0.1:", "refused", "promote --explain")
    begun = time.monotonic()
    regions.sydney.strait("region", "promote", "sydney", "--force")
    regions.sydney.strait("put", "stock", "after-promotion", "1")
    took = time.monotonic() - begun
    expect(took < 5, "promotion to the first write took", took)
    regions.sydney.strait("del", "stock", "after-promotion")
    expect_equal(records(regions.sydney), regions.loaded)


def it_comes_back_as_a_standby(regions):
    for member in regions.singapore.members.values():
        member.start()
    found = wait_role(regions.singapore, "standby", 60)
    expect_equal(found["trouble"], "")
    level = wait_level(regions)
    expect_equal(level[1], 2, "the epoch is Sydney's")
    regions.sydney.strait("region", "switchover", "singapore")
    wait_role(regions.singapore, "primary")
    expect_equal(records(regions.singapore), regions.loaded)


def test_two_regions(context):
    regions = context.server(Regions)
    for step in (what_is_written_comes, lags_are_exported, a_standby_sends_writers_to_the_primary, switched_over_and_back,
                 a_standby_confirms_what_asks_for_it, a_guard_refuses_writes_that_a_standby_lacks, a_primary_that_answers_is_not_given_up, a_lost_primary_is_replaced, it_comes_back_as_a_standby):
        begun = time.monotonic()
        step(regions)
        print("  %s: %.1f s" % (step.__name__, time.monotonic() - begun), flush=True)


def endpoints(*regions):
    return ",".join(member.clients for region in regions for member in region.members.values())


def wait_value(region, key, value, seconds=30):
    until = time.monotonic() + seconds
    while region.run("get", "stock", key).stdout != value.encode() + b"\n":
        expect(time.monotonic() < until, "never written:", key)
        time.sleep(0.05)


def test_a_client_tells_of_a_promotion(context):
    """Singapore comes back while Sydney is away, and takes writes, as it knows nothing of the promotion:
    until a client comes that has been at Sydney since."""
    regions = context.server(Regions, count=1)
    singapore, sydney = regions.singapore, regions.sydney
    singapore.strait("table", "create", "stock")
    wait_level(regions)
    for member in singapore.members.values():
        member.kill()
    sydney.strait("region", "promote", "sydney", "--force")
    shell = subprocess.Popen(
        [STRAIT, "shell", "--endpoint", endpoints(sydney, singapore), "--timeout", "6s"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=singapore.environment())
    try:
        shell.stdin.write(b"put stock seen 1\n")
        shell.stdin.flush()
        wait_value(sydney, "seen", "1")
        for member in sydney.members.values():
            member.kill()
        for member in singapore.members.values():
            member.start()
        singapore.strait("put", "stock", "tail", "1")
        expect_equal(status(singapore)["fence"], None)
        output, errors = shell.communicate(b"put stock refused 1\n", timeout=60)
    finally:
        shell.kill()
        shell.wait()
    expect("higher_epoch" in singapore.log(), singapore.log())
    expect(b"NOT_PRIMARY" in errors or b"standby" in errors, output, errors)
    fence = status(singapore)["fence"]
    expect(fence is not None and fence["region"] == 2, fence)
    refused = singapore.run("put", "stock", "tail", "2", "--timeout", "1s")
    expect(refused.returncode != DONE, refused.stdout, refused.stderr)


def test_what_was_confirmed_is_kept(context):
    """The primary is lost under load: whatever Sydney had confirmed is there once it has taken over."""
    regions = context.server(Regions, count=1)
    regions.singapore.strait("table", "create", "paid")
    wait_level(regions)
    confirmed, ended = [], threading.Event()

    def pay(number):
        key = "p%d" % number
        result = regions.singapore.run("put", "paid", key, key, "--durability", "remote:sydney", "--json",
                                       "--timeout", "6s")
        if result.returncode == DONE and json.loads(result.stdout)["confirmed"]:
            confirmed.append(key)

    def pay_all(first):
        for number in range(first, 1000000, 3):
            if ended.is_set():
                return
            pay(number)

    payers = [threading.Thread(target=pay_all, args=(first,)) for first in range(3)]
    for payer in payers:
        payer.start()
    try:
        until = time.monotonic() + 60
        while len(confirmed) < 30:
            expect(time.monotonic() < until, "too few:", confirmed)
            time.sleep(0.01)
        for member in regions.singapore.members.values():
            member.kill()
    finally:
        ended.set()
        for payer in payers:
            payer.join()
    regions.sydney.strait("region", "promote", "sydney", "--force")
    kept = {record["key"] for record in regions.sydney.json("scan", "paid", "--limit", "0")["records"]}
    expect(kept >= set(confirmed), "confirmed, and lost:", set(confirmed) - kept)


if __name__ == "__main__":
    main(globals())
