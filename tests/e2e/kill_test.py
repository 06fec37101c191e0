# SPDX-License-Identifier: Apache-2.0
"""kill -9 in a loop under load: what was acknowledged is there, what was refused is not, and nothing
ran twice. The seed of the draws is printed; STRAIT_SEED repeats them."""
import collections
import os
import random
import signal
import subprocess
import time

from harness import BUILD, REFUSED, ConfiguredServer, expect, expect_equal, main, spawn

WRITER = os.path.join(BUILD, "tests", "e2e", "e2e_writer")
MASK = (1 << 64) - 1


def seeded():
    seed = int(os.environ.get("STRAIT_SEED", random.SystemRandom().randrange(1 << 32)))
    print("seed %d" % seed, flush=True)
    return seed, random.Random(seed)


def value_of(key, seed, size):
    """As fill() of writer.c makes it."""
    letters = []
    for _ in range(size - len(key)):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        value = seed
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
        letters.append(97 + (value ^ (value >> 31)) % 26)
    return key + bytes(letters).decode("ascii")


class Sent:
    """One transaction of the writer: what was sent, and what came of it."""

    def __init__(self, kind, what):
        self.kind = kind
        self.what = what
        self.end = None
        self.token = None


def read_log(path):
    sent = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            word, number, *rest = line.split()
            if word == "sent":
                sent[number] = Sent(rest[0], rest[1:])
            else:
                expect(sent[number].end is None, "two answers to one call:", line)
                sent[number].end = word if word != "refused" else rest[0]
                sent[number].token = rest[-1]
    for number, item in sent.items():
        expect(item.end is not None, "no answer to", number)
    return sent.values()


def records(server, table):
    found = server.json("scan", table, "--limit", "0")["records"]
    return {record["key"]: record for record in found}


def check_value(key, value, seed, size):
    """The whole of one in twenty (drawn by its seed), and of all others what is cheap to tell."""
    right = len(value) == size and value.startswith(key)
    if seed % 20 == 0:
        right = value == value_of(key, seed, size)
    expect(right, "another value than was written:", key)


def check_records(server, sent):
    """Puts, pairs and what must never be there."""
    puts = records(server, "puts")
    twins = records(server, "twins")
    wanted = set()
    for item in sent:
        key = item.what[0]
        if item.kind == "put":
            if item.end == "done":
                expect(key in puts, "an acknowledged record is gone:", key, item.token)
            elif item.end != "unknown":
                expect(key not in puts, "a refused record is there:", key, item.end)
            if key in puts:
                wanted.add(key)
                check_value(key, puts[key]["value"], int(item.what[1]), int(item.what[2]))
        elif item.kind == "pair":
            expect_equal(key in puts, key in twins, "half a transaction is there:", key, item.end)
            if item.end == "done":
                expect(key in puts, "an acknowledged pair is gone:", key, item.token)
            elif item.end != "unknown":
                expect(key not in puts, "a refused pair is there:", key, item.end)
            if key in puts:
                wanted.add(key)
        elif item.kind == "never":
            expect(item.end != "done", "a commit whose condition does not hold was done:", key)
            expect(key not in puts, "a put whose condition failed is there:", key)
    expect_equal(set(puts) - wanted, set(), "records that nobody wrote")


def check_counters(server, sent):
    low = collections.Counter()
    high = collections.Counter()
    for item in sent:
        if item.kind == "add":
            low[item.what[0]] += int(item.what[1]) if item.end == "done" else 0
            high[item.what[0]] += int(item.what[1]) if item.end in ("done", "unknown") else 0
    counters = records(server, "counters")
    for key, most in high.items():
        value = int(counters[key]["value"]) if key in counters else 0
        expect(low[key] <= value <= most, key, "is", value, "but must be from", low[key], "to", most)


def check_slots(server, sent):
    """A record is overwritten by one at a time; after an unknown outcome, by none."""
    slots = records(server, "slots")
    last = {}
    maybe = collections.defaultdict(set)
    for item in sent:
        if item.kind == "slot":
            key, sequence = item.what[0], int(item.what[1])
            if item.end == "done":
                last[key] = sequence
            elif item.end == "unknown":
                maybe[key].add(sequence)
    for key in set(last) | set(maybe):
        value = int(slots[key]["value"]) if key in slots else None
        expect(value in maybe[key] | {last.get(key)}, key, "holds", value, "but the last one "
               "acknowledged is", last.get(key), "and unknown are", maybe[key])


def check_claims(server, sent):
    claims = records(server, "claims")
    owners = collections.defaultdict(list)
    for record in server.json("index", "scan", "claims", "by_name", "--limit", "0")["records"]:
        owners[record["value"]].append(record["key"])
    for name, keys in owners.items():
        expect_equal(len(keys), 1, "a unique name has these owners:", name, keys)
    expect_equal(sorted(keys[0] for keys in owners.values()), sorted(claims),
                 "the index and the table differ")
    for item in sent:
        if item.kind == "claim":
            key, name = item.what
            if item.end == "done":
                expect_equal(owners[name], [key], "the owner of", name)
            elif item.end != "unknown":
                expect(key not in claims, "a refused claim is there:", key, item.end)


def check_outcomes(server, sent, draws):
    """The server's own word on transactions agrees with what is there."""
    puts = records(server, "puts")
    by_end = collections.defaultdict(list)
    for item in sent:
        if item.kind == "put":
            by_end[item.end].append(item)
    chosen = draws.sample(by_end["done"], min(10, len(by_end["done"])))
    chosen += draws.sample(by_end["unknown"], min(15, len(by_end["unknown"])))
    for item in chosen:
        state = server.json("txn", "status", item.token)["state"]
        expect_equal(state == "committed", item.what[0] in puts, item.kind, item.end, state)


def check_all(server, path, draws):
    sent = read_log(path)
    ends = collections.Counter(item.end for item in sent)
    print("answers: %s" % dict(ends), flush=True)
    check_records(server, sent)
    check_counters(server, sent)
    check_slots(server, sent)
    check_claims(server, sent)
    check_outcomes(server, sent, draws)
    check = server.json("check")
    expect_equal(check["findings"], [], "strait check")
    return ends


def make_tables(server):
    for table in ("puts", "twins", "counters", "slots", "claims"):
        server.strait("table", "create", table)
    server.strait("index", "create", "claims", "by_name", "--unique")


def begin_writing(server, seed, seconds, log, depth=64):
    return spawn([WRITER, str(seed), str(seconds), str(depth), log],
                 env=server.environment(), stderr=subprocess.PIPE, text=True)


def end_writing(writer):
    _, said = writer.communicate(timeout=90)
    expect_equal(writer.returncode, 0, "the writer", said)


def kill_loop(server, draws, kills):
    """Kills at drawn moments after it is ready; now and then while it still recovers."""
    for _ in range(kills):
        time.sleep(draws.uniform(0.05, 1.0))
        server.kill()
        if draws.random() < 0.4:
            server.spawn()
            time.sleep(draws.uniform(0.0, 0.15))
            server.kill()
        server.start()


def test_killed_under_load(context):
    seed, draws = seeded()
    # A small memtable: kills fall into flushes and compactions too.
    server = context.server(kind=ConfiguredServer, settings={"memory.memtable_size": "4MiB"})
    make_tables(server)
    log = server.path("writer.log")
    writer = begin_writing(server, seed, 9, log, 24)
    kill_loop(server, draws, 10)
    end_writing(writer)
    ends = check_all(server, log, draws)
    expect(ends["done"] > 500, "too little was written to prove anything")
    expect(ends["CONDITION_FAILED"] > 0 and ends["UNIQUE_VIOLATION"] > 0, "refusals are missing")
    server.stop()
    server.start()
    metrics = server.json("status")["metrics"]
    expect(metrics["sorted_tables_count"] > 0, "nothing was ever flushed to a table")
    sent = read_log(log)
    check_records(server, sent)
    check_counters(server, sent)


def test_stopped_and_continued(context):
    """A server that hangs for longer than some deadlines: calls end in time, and nothing is lost."""
    seed, draws = seeded()
    server = context.server()
    make_tables(server)
    log = server.path("writer.log")
    writer = begin_writing(server, seed, 4, log, 24)
    time.sleep(1)
    server.process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    server.strait("get", "puts", "x", "--timeout", "300ms", status=3)
    expect(time.monotonic() - begun < 2, "a deadline of 300 ms was not kept")
    time.sleep(1)
    server.process.send_signal(signal.SIGCONT)
    end_writing(writer)
    ends = check_all(server, log, draws)
    expect(ends["unknown"] > 0, "no outcome was unknown although the server hung")
    server.strait("get", "puts", "x", status=REFUSED)


if __name__ == "__main__":
    main(globals())
