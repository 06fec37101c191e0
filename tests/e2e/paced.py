# SPDX-License-Identifier: Apache-2.0
"""The load of `paced.c`: started, read along, ended, and compared with what is in the table."""
import os
import signal
import subprocess
import time

from harness import BUILD, expect, expect_equal, spawn

PACED = os.path.join(BUILD, "tests", "e2e", "e2e_paced")


class Answer:
    """One line of its log; `status` is None for a put that was acknowledged."""

    def __init__(self, line):
        word, number, answered, sent, *rest = line.split(maxsplit=4)
        self.number = int(number)
        self.answered_ns = int(answered)
        self.sent_ns = int(sent)
        self.status = None if word == "done" else rest[0] if rest else "?"


class Paced:
    """Puts at `rate` a second through `server` (a Server or a Region), from now on."""

    def __init__(self, server, rate, folder=None):
        self.log = os.path.join(folder or server.data, "paced.log")
        self.read_bytes = 0
        self.answers = []
        self.acknowledged_count = 0
        open(self.log, "w", encoding="ascii").close()
        self.process = spawn([PACED, str(rate), self.log], env=server.environment(), stderr=subprocess.PIPE,
                             text=True)

    def look(self):
        """All whole lines so far."""
        with open(self.log, encoding="utf-8") as file:
            file.seek(self.read_bytes)
            while True:
                line = file.readline()
                if not line.endswith("\n"):
                    return self.answers
                self.read_bytes += len(line.encode("utf-8"))
                self.answers.append(Answer(line))
                self.acknowledged_count += self.answers[-1].status is None

    def done_count(self):
        self.look()
        return self.acknowledged_count

    def wait_more(self, count, seconds=60):
        """Until so many more are acknowledged."""
        until = time.monotonic() + seconds
        wanted = self.done_count() + count
        while self.done_count() < wanted:
            expect(self.process.poll() is None, "the load ended by itself")
            expect(time.monotonic() < until, "no", count, "puts were acknowledged in", seconds, "s")
            time.sleep(0.02)

    def end(self, seconds=60):
        """Every put has its answer. Gives them all."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=seconds)
        expect_equal(self.process.returncode, 0, "the load", said)
        return self.look()

    def expect_no_errors(self):
        failed = [answer for answer in self.answers if answer.status is not None]
        expect(not failed, len(failed), "puts failed; the first:", failed[0].status if failed else "")

    def longest_gap_ms(self, from_ns=0, to_ns=1 << 63):
        """Between two acknowledgements, one of them within these times."""
        times = sorted(answer.answered_ns for answer in self.answers if answer.status is None)
        gaps = [after - before for before, after in zip(times, times[1:])
                if after >= from_ns and before <= to_ns]
        return max(gaps, default=0) / 1e6

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def expect_all_there(self, server):
        """What was acknowledged is in the table, as it was written."""
        found = {record["key"]: record["value"]
                 for record in server.json("scan", "paced", "--limit", "0")["records"]}
        for answer in self.answers:
            key = "%012d" % answer.number
            if answer.status is None:
                expect(key in found, "an acknowledged record is gone:", key)
            if key in found:
                expect_equal(found[key], chr(ord("a") + answer.number % 26) * 256, key)
