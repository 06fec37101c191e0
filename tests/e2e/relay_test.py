# SPDX-License-Identifier: Apache-2.0
"""The relay that drills put between processes: what it passes on, holds back and breaks off."""
import json
import os
import socket
import subprocess
import tempfile
import threading
import time

from harness import BUILD, DONE, REFUSED, UNREACHABLE, USAGE, expect, expect_equal, free_port, main

RELAY = os.path.join(BUILD, "strait-relay")
PATIENCE_S = 30


class Echo:
    """Gives back what it is sent, and ends when the other side does."""

    log_path = ""

    def __init__(self, start=True):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        if start:
            self.start()

    def start(self):
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    @staticmethod
    def serve(connection):
        with connection:
            try:
                while True:
                    data = connection.recv(65536)
                    if not data:
                        return
                    connection.sendall(data)
            except OSError:
                pass

    def close(self):
        self.listener.close()


class Relay:
    def __init__(self, *targets, options=()):
        self.folder = tempfile.TemporaryDirectory(prefix="strait-relay-")
        self.path = os.path.join(self.folder.name, "control")
        self.process = subprocess.Popen(
            [RELAY, "--control", self.path, *options, *("127.0.0.1:0=127.0.0.1:%d" % port for port in targets)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports = []
        for line in self.process.stdout:
            if line == "ready\n":
                break
            self.ports.append(int(line.split("=")[0].rsplit(":", 1)[1]))
        expect_equal(len(self.ports), len(targets))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.folder.cleanup()

    def tell(self, *words, status=DONE):
        done = subprocess.run([RELAY, "--tell", self.path, *words], capture_output=True, text=True, timeout=PATIENCE_S)
        expect_equal(done.returncode, status, words, done.stdout, done.stderr)
        return done.stdout

    def status(self):
        return json.loads(self.tell("status"))

    def connect(self, way=0):
        return socket.create_connection(("127.0.0.1", self.ports[way]), timeout=PATIENCE_S)


def receive(connection, size):
    got = b""
    while len(got) < size:
        data = connection.recv(size - len(got))
        expect(data, "the connection ended after", len(got), "bytes")
        got += data
    return got


def round_trip(connection, data=b"x"):
    began = time.monotonic()
    connection.sendall(data)
    expect_equal(receive(connection, len(data)), data)
    return time.monotonic() - began


def is_silent(connection, seconds=0.3):
    connection.settimeout(seconds)
    try:
        connection.recv(1)
        return False
    except socket.timeout:
        return True
    finally:
        connection.settimeout(PATIENCE_S)


def eventually(check):
    until = time.monotonic() + PATIENCE_S
    while not check():
        expect(time.monotonic() < until, "never:", check)
        time.sleep(0.01)


def test_bytes_pass_whole_on_many_ways(context):
    echo, other = context.server(Echo), context.server(Echo)
    with Relay(echo.port, other.port) as relay:
        data = os.urandom(3 * 1024 * 1024)
        for way in (0, 1):
            with relay.connect(way) as connection:
                writer = threading.Thread(target=connection.sendall, args=(data,))
                writer.start()
                expect(receive(connection, len(data)) == data, "other bytes came back")
                writer.join()
                # The end passes too, each way.
                connection.shutdown(socket.SHUT_WR)
                expect_equal(connection.recv(1), b"")
        eventually(lambda: relay.status()["connections"] == 0)
        told = relay.status()
        expect_equal(told["forward_bytes"], 2 * len(data))
        expect_equal(told["back_bytes"], 2 * len(data))
        expect_equal(told["held_bytes"], 0)
        expect_equal(told["accepted"], 2)


def test_a_delay_is_waited_each_way(context):
    with Relay(context.server(Echo).port, options=("--delay", "45")) as relay, relay.connect() as connection:
        expect(round_trip(connection) >= 0.090, "faster than the delay")
        # What is sent meanwhile is on its way at the same time: the cable is long, not thin.
        began = time.monotonic()
        for i in range(20):
            connection.sendall(b"%02d" % i)
            time.sleep(0.001)
        expect_equal(receive(connection, 40), b"".join(b"%02d" % i for i in range(20)))
        expect(time.monotonic() - began < 20 * 0.090, "one after another")
        relay.tell("delay", "200ms")
        expect(round_trip(connection) >= 0.400, "faster than the new delay")
        relay.tell("delay", "0")
        expect_equal(relay.status()["delay_ms"], 0)
        round_trip(connection)


def test_a_rate_is_kept_by_all_connections_together(context):
    with Relay(context.server(Echo).port, options=("--rate", "1MB")) as relay:
        expect_equal(relay.status()["rate_bytes_per_second"], 1000000)
        with relay.connect() as one, relay.connect() as two:
            began = time.monotonic()
            for connection in (one, two):
                connection.sendall(bytes(300000))
            for connection in (one, two):
                receive(connection, 300000)
            expect(time.monotonic() - began >= 0.55, "faster than the rate")
            relay.tell("rate", "off")
            round_trip(one, bytes(300000))


def test_a_cut_holds_back_and_a_resume_goes_on(context):
    with Relay(context.server(Echo).port) as relay, relay.connect() as connection:
        round_trip(connection)
        relay.tell("cut")
        connection.sendall(b"held")
        expect(is_silent(connection), "something passed a cut")
        with relay.connect() as late:
            late.sendall(b"late")
            expect(is_silent(late), "something passed a cut")
            expect(relay.status()["forward_cut"] and relay.status()["back_cut"])
            relay.tell("resume")
            expect_equal(receive(connection, 4), b"held")
            expect_equal(receive(late, 4), b"late")
        # One direction alone: what is asked arrives, and its answer does not.
        relay.tell("cut", "back")
        connection.sendall(b"half")
        eventually(lambda: relay.status()["forward_bytes"] == 1 + 4 + 4 + 4)
        expect(is_silent(connection), "an answer passed a cut")
        relay.tell("resume", "back")
        expect_equal(receive(connection, 4), b"half")


def test_a_drop_ends_all_connections_and_new_ones_pass(context):
    with Relay(context.server(Echo).port) as relay, relay.connect() as one, relay.connect() as two:
        round_trip(one)
        round_trip(two)
        relay.tell("drop")
        for connection in (one, two):
            try:
                expect_equal(connection.recv(1), b"")
            except ConnectionResetError:
                pass
        expect_equal(relay.status()["connections"], 0)
        with relay.connect() as three:
            round_trip(three)


def test_a_target_that_is_not_there_ends_the_connection(context):
    with Relay(free_port()) as relay:
        try:
            with relay.connect() as connection:
                expect_equal(connection.recv(1), b"")
        except ConnectionResetError:  # also while connecting
            pass
        eventually(lambda: relay.status()["connections"] == 0)


def test_commands(context):
    with Relay(context.server(Echo).port) as relay:
        for wrong in (["delay"], ["delay", "-1"], ["delay", "1h"], ["delay", "60001"], ["rate", "0"], ["rate", "x"],
                      ["cut", "sideways"], ["drop", "all"], ["delay", "1", "2"], ["nothing"], ["status", "now"], [""]):
            relay.tell(*wrong, status=REFUSED)
        relay.tell("delay", "9" * 300, status=USAGE)
        expect_equal(relay.status()["delay_ms"], 0)
        # Many controllers at a time, and more than there is place for.
        idle = [socket.socket(socket.AF_UNIX) for _ in range(6)]
        for controller in idle:
            controller.connect(relay.path)
        relay.tell("delay", "7")
        idle[0].sendall(b"x" * 1000 + b"\nstatus\n")
        answer = b""
        while answer.count(b"\n") < 2:
            answer += idle[0].recv(4096)
        expect(answer.startswith(b"error: the line is too long\n{"), answer)
        for controller in idle:
            controller.close()
        # Standard input, whose end ends nothing.
        relay.process.stdin.write("delay 8\nquit-not\n")
        relay.process.stdin.flush()
        expect_equal(relay.process.stdout.readline(), "ok\n")
        expect(relay.process.stdout.readline().startswith("error: "))
        relay.process.stdin.close()
        expect_equal(relay.status()["delay_ms"], 8)
        relay.tell("quit")
        expect_equal(relay.process.wait(PATIENCE_S), 0)
        relay.tell("status", status=UNREACHABLE)


def test_arguments(context):
    for wrong in ([], ["127.0.0.1:1"], ["localhost:0=127.0.0.1:1"], ["127.0.0.1:0=127.0.0.1:0"],
                  ["127.0.0.1:0=127.0.0.1:65536"], ["--delay", "x", "127.0.0.1:0=127.0.0.1:1"], ["--nothing"],
                  ["--tell", "/nowhere"], ["192.0.2.1:0=127.0.0.1:1"]):
        done = subprocess.run([RELAY, *wrong], capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)
        expect_equal(done.returncode, USAGE, wrong)
        expect(done.stderr, "no words for", wrong)
    done = subprocess.run([RELAY, "--help"], capture_output=True, text=True, timeout=PATIENCE_S)
    expect_equal(done.returncode, 0)
    expect("--tell PATH" in done.stdout)


main(globals())
