# SPDX-License-Identifier: Apache-2.0
"""Members of a region killed, stopped and damaged: nothing acknowledged is lost, nothing stale is read,
and without a majority nothing is acknowledged."""
import glob
import os
import signal
import subprocess
import time

import kill_test
from harness import DONE, REFUSED, STRAIT, UNKNOWN, UNREACHABLE, expect, expect_equal, main, spawn
from region import Region
from region_test import begin, end, lead, status_of, wait_same_index

ELECTION_TIMEOUT_S = 0.3  # of region.py


def others_of(region, member):
    return [one for one in region.members.values() if one is not member]


def test_a_minority_and_a_majority_lost(context):
    region = context.server(kind=Region)
    region.strait("table", "create", "t")
    region.strait("put", "t", "a", "1")
    leader = region.leader()
    first, second = others_of(region, leader)
    first.kill()
    region.strait("put", "t", "a", "2")
    expect_equal(region.strait("get", "t", "a"), "2\n")
    second.kill()
    # What holds only here must not be acknowledged, nor read as if it were committed.
    for arguments in (("put", "t", "a", "3"), ("get", "t", "a"), ("scan", "t")):
        begun = time.monotonic()
        result = region.run(*arguments, "--timeout", "3s")
        expect(result.returncode in (REFUSED, UNREACHABLE, UNKNOWN), arguments, result.returncode, result.stdout)
        expect(len(result.stderr.strip()) > 10, "no reason is said:", result.stderr)
        expect_equal(result.stdout, b"", arguments)
        # The deadline is kept; the rest is for a loaded machine.
        expect(time.monotonic() - begun < 20, arguments, "took", time.monotonic() - begun)
        if arguments[0] == "get":
            expect(result.returncode != UNKNOWN, "a read whose outcome is unknown")
    until = time.monotonic() + 30
    while status_of(leader)["role"] == "leader":
        expect(time.monotonic() < until, "it still leads without a majority")
        time.sleep(0.05)
    # The other value is an unknown outcome's, if it was proposed before the majority's loss was known.
    second.start()
    expect(region.strait("get", "t", "a", "--timeout", "60s") in ("2\n", "3\n"), "a write is lost")
    region.strait("put", "t", "a", "4")
    first.start()
    wait_same_index(region)
    for member in region.members.values():
        lead(region, member)
        expect_equal(region.strait("get", "t", "a"), "4\n")


def test_a_follower_stands_still(context):
    region, load = begin(context)
    follower = others_of(region, region.leader())[0]
    term = status_of(region.leader())["log_term"]
    follower.process.send_signal(signal.SIGSTOP)
    time.sleep(10 * ELECTION_TIMEOUT_S)  # the fault itself: so long it stands still
    load.wait_more(30)
    follower.process.send_signal(signal.SIGCONT)
    end(region, load)
    # It asked before it stood for election (pre-vote), so that nobody was disturbed.
    print("term %d before, %d after" % (term, status_of(region.leader())["log_term"]), flush=True)


def test_the_leader_stands_still(context):
    """What it knew when it stopped may be old when it goes on: it must not say so as the newest."""
    region, load = begin(context)
    region.strait("table", "create", "t")
    region.strait("put", "t", "a", "0")
    for i in range(3):
        old = region.leader()
        others = ",".join(one.clients for one in others_of(region, old))
        old.process.send_signal(signal.SIGSTOP)
        value = "new-%d" % i
        region.strait("put", "t", "a", value, "--endpoint", others, "--timeout", "60s")
        # The request lies in its socket before it goes on: it is the first that it sees.
        reads = [start_read(old) for _ in range(4)]
        time.sleep(0.2)  # only makes the interesting order likely; nothing depends on it
        old.process.send_signal(signal.SIGCONT)
        for read in reads:
            out, said = read.communicate(timeout=90)
            if read.returncode == DONE:
                expect_equal(out.decode().strip(), value, "a stale read through the old leader")
            else:
                expect(read.returncode in (REFUSED, UNREACHABLE), read.returncode, said)
        expect(region.leader() is not None)
        load.wait_more(20)
    end(region, load)


def start_read(member):
    return spawn([STRAIT, "get", "t", "a", "--timeout", "30s"], stdout=subprocess.PIPE,
                 stderr=subprocess.PIPE, env=member.environment())


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x40]))


def middle_of(path):
    """A byte in the middle of what was written, not of what fills a batch up."""
    with open(path, "rb") as file:
        data = file.read().rstrip(b"\0")
    offset = len(data) // 2
    while data[offset:offset + 32].count(0) > 4:
        offset += 16
    expect(offset < len(data) * 3 // 4, "nothing in the middle of", path)
    return offset


def test_a_damaged_log(context):
    """A byte in the middle of a member's log has decayed: the others give it what is lost."""
    region, load = begin(context)
    load.wait_more(200)
    member = others_of(region, region.leader())[0]
    member.kill()
    segment = sorted(glob.glob(os.path.join(member.store, "wal", "segment-*")))[0]
    flip(segment, middle_of(segment))
    before = len(member.log())
    member.start()
    load.wait_more(30)
    until = time.monotonic() + 60
    while "log_mended" not in member.log()[before:]:
        expect(time.monotonic() < until, "the log is not mended\n" + member.log()[before:])
        time.sleep(0.05)
    expect("log_mending" in member.log()[before:], "it does not say that it mends")
    end(region, load)
    # It takes part: with another one gone, nothing commits without it.
    lead(region, member)
    others_of(region, member)[0].kill()
    region.strait("put", "paced", "after", "x", "--timeout", "60s")
    expect_equal(region.strait("get", "paced", "after"), "x\n")


def test_members_killed_in_a_loop(context):
    """Any member at any moment, one at a time: whatever was acknowledged is there, on all of them."""
    seed, draws = kill_test.seeded()
    region = context.server(kind=Region)
    kill_test.make_tables(region)
    log = os.path.join(region.folder, "writer.log")
    writer = kill_test.begin_writing(region, seed, 8, log, 24)
    kills = 0
    while writer.poll() is None and kills < 40:
        time.sleep(draws.uniform(0.05, 0.8))
        member = draws.choice(list(region.members.values()))
        member.kill()
        time.sleep(draws.uniform(0.0, 0.8))
        member.start()
        kills += 1
        leader = region.leader()
        if draws.random() < 0.5:
            leader.kill()
            time.sleep(draws.uniform(0.0, 0.8))
            leader.start()
            kills += 1
    kill_test.end_writing(writer)
    print("%d kills" % kills, flush=True)
    ends = kill_test.check_all(region, log, draws)
    expect(kills >= 4 and ends["done"] > 200, "too little happened to prove anything")
    wait_same_index(region)
    sent = kill_test.read_log(log)
    for member in region.members.values():
        lead(region, member)
        kill_test.check_records(region, sent)
        kill_test.check_counters(region, sent)
        kill_test.check_slots(region, sent)


if __name__ == "__main__":
    main(globals())
