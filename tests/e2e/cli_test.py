# SPDX-License-Identifier: Apache-2.0
"""Every command of `strait`: text and JSON, exit statuses, the shell from a script and on a terminal."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

from harness import (BUILD, DONE, REFUSED, ROOT, STRAIT, STRAITD, UNKNOWN, UNREACHABLE, USAGE, ConfiguredServer,
                     expect, expect_equal, main, run, spawn)

SAMPLE = os.path.join(ROOT, "server", "sample", "orders.csv")


def error_of(server, *arguments, status=REFUSED):
    """Expects a failure, told in text on standard error, and as the one JSON document."""
    plain = server.run(*arguments)
    expect_equal(plain.returncode, status, *arguments, plain.stderr.decode("utf-8"))
    expect(plain.stderr.startswith(b"strait: "), "standard error of", *arguments, plain.stderr)
    return server.json(*arguments, status=status)["error"]


def test_records(context):
    server = context.server()
    server.strait("table", "create", "users")
    server.strait("index", "create", "users", "by_mail", "--unique")
    server.strait("index", "create", "users", "by_city")
    server.strait("put", "users", "u1", "Ada", "--index", "by_mail=a@x", "--index", "by_city=Paris")
    made = server.json("put", "users", "u2", "Bob", "--index=by_mail=b@x", "--index=by_city=Paris")
    expect(re.fullmatch("[0-9a-f]{32}-[0-9a-f]{16}", made["txn"]), made)
    expect_equal(server.json("txn", "status", made["txn"])["state"], "committed")
    expect("at version %d" % made["version"] in server.strait("txn", "status", made["txn"]), "text")
    expect_equal(server.strait("get", "users", "u1"), "Ada\n")
    expect_equal(server.strait("get", "users", "u1", "--raw"), "Ada")
    expect_equal(server.strait("get", "users", "7531", "--hex"), "Ada\n")
    record = server.json("get", "users", "u2")
    expect_equal((record["key"], record["value"], record["version"]), ("u2", "Bob", made["version"]))
    # Bytes that are no text come out harmless, and whole.
    server.strait("put", "users", "bytes", "-", stdin=b"\x1b[2J\xff\x00")
    expect("\x1b" not in server.strait("get", "users", "bytes"), "an escape reached the terminal")
    expect_equal(server.json("get", "users", "bytes")["value_hex"], "1b5b324aff00")
    expect_equal(server.run("get", "users", "bytes", "--raw").stdout, b"\x1b[2J\xff\x00")
    server.strait("del", "users", "bytes")
    # Conditions.
    expect_equal(error_of(server, "put", "users", "u1", "x", "--if-absent"), "CONDITION_FAILED")
    expect_equal(error_of(server, "put", "users", "u2", "x", "--if-version", "1"), "CONDITION_FAILED")
    server.strait("put", "users", "u2", "Bert", "--if-version", str(made["version"]), "--index",
                  "by_mail=b@x", "--index", "by_city=Rome")
    expect_equal(error_of(server, "del", "users", "nobody", "--if-exists"), "CONDITION_FAILED")
    server.strait("del", "users", "nobody")
    expect_equal(error_of(server, "get", "users", "nobody"), "NOT_FOUND")
    expect_equal(error_of(server, "get", "nothing", "nobody"), "NO_TABLE")
    expect_equal(error_of(server, "put", "users", "u3", "x", "--index", "by_mail=a@x"),
                 "UNIQUE_VIOLATION")
    expect_equal(error_of(server, "put", "users", "u3", "x", "--index", "by_none=1"), "NO_INDEX")
    expect_equal(error_of(server, "get", "users", "u3"), "NOT_FOUND")
    # Numbers.
    server.strait("add", "users", "n", "5", "--initial", "10")
    expect_equal(server.strait("get", "users", "n"), "15\n")
    expect_equal(error_of(server, "add", "users", "n", "-16", "--min", "0"), "OUT_OF_BOUNDS")
    expect_equal(error_of(server, "add", "users", "n", "6", "--max", "20"), "OUT_OF_BOUNDS")
    server.strait("add", "users", "n", "-15", "--min", "0")
    expect_equal(server.strait("get", "users", "n"), "0\n")
    expect_equal(error_of(server, "add", "users", "u1", "1"), "NOT_A_NUMBER")
    expect_equal(error_of(server, "add", "users", "none", "1", "--must-exist"), "NOT_FOUND")
    server.strait("del", "users", "n")
    # Ranges.
    for number in range(10):
        server.strait("put", "users", "v%d" % number, "x")

    def keys(*arguments):
        return [record["key"] for record in server.json(*arguments)["records"]]

    expect_equal(keys("scan", "users"), ["u1", "u2"] + ["v%d" % number for number in range(10)])
    expect_equal(keys("scan", "users", "--from", "u2", "--to", "v2"), ["u2", "v0", "v1"])
    expect_equal(keys("scan", "users", "--prefix", "v", "--limit", "2", "--reverse"), ["v9", "v8"])
    expect_equal(server.strait("scan", "users", "--prefix", "u", "--keys").split(), ["u1", "u2"])
    expect(all("value" not in record for record in server.json("scan", "users", "--keys")["records"]))
    expect_equal(keys("index", "scan", "users", "by_city", "Rome"), ["u2"])
    expect_equal(keys("index", "scan", "users", "by_mail", "--prefix", "a"), ["u1"])
    expect("u1" in server.strait("index", "scan", "users", "by_city"), "text")
    # Bounds.
    expect_equal(error_of(server, "put", "users", "k" * 1025, "x"), "TOO_LARGE")
    big = server.run("put", "users", "big", "-", stdin=b"x" * ((1 << 20) + 1))
    expect_equal(big.returncode, REFUSED, big.stderr)
    server.strait("put", "users", "big", "-", stdin=b"x" * (1 << 20))
    expect_equal(len(server.strait("get", "users", "big", "--raw")), 1 << 20)


def said_by(server, *arguments, stdin=None):
    """What a command that is refused says."""
    result = server.run(*arguments, stdin=stdin)
    expect_equal(result.returncode, REFUSED, *arguments, result.stderr.decode("utf-8"))
    return result.stderr.decode("utf-8")


def test_refusals_name_the_limit(context):
    server = context.server()
    server.strait("table", "create", "users")
    for said, wanted in (
            (said_by(server, "put", "users", "u1", "x", "--ttl", "4000d"), "at most 3650"),
            (said_by(server, "put", "users", "", "x"), "1 to 1024 bytes"),
            (said_by(server, "get", "users", ""), "1 to 1024 bytes"),
            (said_by(server, "get", "users", "k" * 1025), "1025 bytes, and may have 1 to 1024"),
            (said_by(server, "del", "users", "k" * 1025), "1025 bytes, and may have 1 to 1024"),
            (said_by(server, "table", "drop", "gone"), "`strait table list`"),
            (said_by(server, "index", "drop", "users", "gone"), "`strait index list`"),
            (said_by(server, "put", "gone", "u1", "x"), "Create it first")):
        expect(wanted in said, repr(wanted), "is not in", said)


def test_reads_at_least_at_a_position(context):
    server = context.server()
    server.strait("table", "create", "users")
    made = [server.json("put", "users", "u%d" % i, "v%d" % i) for i in range(5)]
    last = made[-1]["position"]
    expect(re.fullmatch("[0-9]+-[0-9]+-%d" % made[-1]["version"], last), made[-1])
    expect_equal(server.strait("get", "users", "u4", "--at-least", last), "v4\n")
    expect_equal(server.json("get", "users", "u4", "--at-least", made[0]["position"])["value"], "v4")
    expect_equal(error_of(server, "get", "users", "none", "--at-least", last), "NOT_FOUND")

    def keys(*arguments):
        found = server.json("scan", "users", *arguments)
        return [record["key"] for record in found["records"]], found["more"]

    everything = ["u%d" % i for i in range(5)]
    expect_equal(keys("--at-least", last), (everything, False))
    expect_equal(keys("--at-least", last, "--limit", "0"), (everything, False))
    expect_equal(keys("--at-least", last, "--limit", "2"), (everything[:2], True))
    expect_equal(keys("--at-least", last, "--limit", "5", "--reverse"), (everything[::-1], False))
    expect_equal(keys("--max-staleness", "10s", "--prefix", "u3"), (["u3"], False))
    expect_equal(server.strait("scan", "users", "--keys", "--at-least", last).split(), everything)
    # What this server's history has not come to is waited for, within the deadline.
    epoch, region, version = last.split("-")
    ahead = "%s-%s-%d" % (epoch, region, int(version) + 1000)
    begun = time.monotonic()
    result = server.run("get", "users", "u4", "--at-least", ahead, "--timeout", "1s")
    expect(result.returncode in (REFUSED, UNREACHABLE), result.returncode, result.stderr)
    expect(time.monotonic() - begun < 30, "the deadline was not kept")
    for arguments in (("--at-least", "7"), ("--at-least", "1-1"), ("--at-least", "1-1-x"),
                      ("--at-least", "-1-1-1"), ("--at-least", "1-4294967296-1"),
                      ("--at-least", last, "--max-staleness", "1s")):
        server.strait("get", "users", "u4", *arguments, status=USAGE)
        server.strait("scan", "users", *arguments, status=USAGE)


def test_schema(context):
    server = context.server()
    expect_equal(server.json("table", "list")["tables"], [])
    server.json("table", "create", "users")
    expect_equal(error_of(server, "table", "create", "users"), "ALREADY_EXISTS")
    server.json("index", "create", "users", "by_mail", "--unique")
    expect_equal(error_of(server, "index", "create", "users", "by_mail"), "ALREADY_EXISTS")
    expect_equal(error_of(server, "index", "create", "none", "by_mail"), "NO_TABLE")
    expect_equal(server.json("table", "list")["tables"],
                 [{"table": "users", "indexes": [{"index": "by_mail", "unique": True}]}])
    expect("by_mail" in server.strait("index", "list") and "users" in server.strait("table", "list"))
    server.strait("put", "users", "u1", "x", "--index", "by_mail=a")
    server.strait("index", "drop", "users", "by_mail")
    expect_equal(error_of(server, "index", "scan", "users", "by_mail"), "NO_INDEX")
    expect_equal(server.strait("get", "users", "u1"), "x\n")
    server.strait("table", "drop", "users")
    expect_equal(error_of(server, "table", "drop", "users"), "NO_TABLE")
    server.strait("table", "create", "users")
    expect_equal(error_of(server, "get", "users", "u1"), "NOT_FOUND")


def test_administration(context):
    server = context.server()
    status = server.json("status")
    expect_equal((status["writable"], status["encrypted"], status["alarms"]), (True, True, []))
    expect("alarms     none" in server.strait("status"))
    expect("dev-admin" in server.strait("ping"))
    expect_equal(server.json("ping")["role"], "admin")
    expect("all whole" in server.strait("check"))
    expect_equal(server.json("check")["findings_count"], 0)
    expect_equal(server.json("txn", "list")["snapshots"], [])
    server.strait("txn", "list")
    expect_equal(error_of(server, "txn", "cancel", "12345"), "NO_SNAPSHOT")
    unknown = "0" * 32 + "-" + "0" * 16
    expect(server.json("txn", "status", unknown)["state"] in ("none", "expired"))
    expect_equal(server.json("load", "retail", SAMPLE)["refused_invoices"], 0)
    expect("revenue" in server.strait("load", "retail", SAMPLE, "--quiet"))
    for workload in ("put", "get", "mixed", "scan", "checkout", "hot-sku"):
        options = ("bench", workload, "--seconds", "1", "--clients", "4", "--keys", "500")
        result = server.json(*options)
        expect(json.dumps(result).find("p99") >= 0, workload, result)
    # A second run's orders are others than the first one's, although it draws the same.
    result = server.json("bench", "checkout", "--seconds", "1", "--clients", "4")
    expect_equal(result["errors_count"], 0, result)
    expect("p99" in server.strait("bench", "get", "--seconds", "1", "--clients", "2", "--keys", "500"))
    options = ("--seconds", "1", "--clients", "6", "--keys", "500", "--threads", "2", "--depth", "3")
    expect_equal(server.json("bench", "mixed", *options)["threads"], 2)


def test_usage_and_reach(context):
    server = context.server()
    shown = server.strait("--help")
    for noun in ("get", "put", "del", "add", "scan", "table create", "index scan", "txn status",
                 "txn list", "txn cancel", "status", "ping", "check", "member list", "member add",
                 "member promote", "member remove", "member replace", "leader transfer", "cluster upgrade", "region list",
                 "region status", "region add", "region set", "region remove", "region switchover",
                 "region promote", "load retail", "bench", "shell"):
        expect(re.search("^  %s " % noun, shown, re.M), "not in --help:", noun)
        server.strait(*noun.split(), "--help")
    for wrong in (("nonsense",), ("table",), ("table", "fly"), ("get",), ("get", "a"), ("put", "t", "k"),
                  ("get", "t", "k", "--nonsense"), ("scan", "t", "--limit", "x"), ("ping", "--timeout", "0s"),
                  ("put", "t", "k", "v", "--ttl", "soon"), ("get", "t", "xyz", "--hex"),
                  ("put", "t", "k", "v", "--index", "none"), ("bench", "nothing"), ("txn", "cancel", "x")):
        result = server.run(*wrong)
        expect_equal(result.returncode, USAGE, *wrong, result.stderr)
        expect_equal(result.stdout, b"", *wrong)
        expect(result.stderr.startswith(b"strait: "), *wrong, result.stderr)
        expect_equal(server.json(*wrong, status=USAGE)["error"], "USAGE", *wrong)
    expect_equal(server.run().returncode, USAGE)
    expect("strait" in server.strait("--version"))
    away = ("--endpoint", "127.0.0.1:1", "--timeout", "300ms")
    for command in (("get", "t", "k"), ("put", "t", "k", "v"), ("status",), ("scan", "t")):
        expect_equal(error_of(server, *command, *away, status=UNREACHABLE), "UNREACHABLE", *command)
    # One that is away and one that is there.
    server.strait("ping", "--endpoint", "127.0.0.1:1,127.0.0.1:%d" % server.port)
    expect_equal(server.run("ping", "--profile", "/nonexistent").returncode, UNREACHABLE)
    with open("/dev/full", "wb") as full:
        result = subprocess.run([STRAIT, "status"], check=False, stdout=full, env=server.environment(),
                                stderr=subprocess.PIPE)
    expect_equal(result.returncode, REFUSED, result.stderr)


def test_usage_says_what_is_wrong(context):
    server = context.server()
    server.strait("table", "create", "users")

    def usage(*arguments):
        result = server.run(*arguments)
        expect_equal(result.returncode, USAGE, *arguments, result.stderr)
        return result.stderr.decode("utf-8")

    for said, wanted in (
            (usage("table", "foo"), "`table` has no verb `foo`; its verbs are create, drop, list"),
            (usage("table"), "a verb is missing after `table`"),
            (usage("bench", "put", "--clients", "0"), "--clients 0: a whole number from 1 to 4096"),
            (usage("bench", "put", "--seed", "x"), "--seed x: a whole number from 0 to"),
            (usage("bench", "put", "--clients", "2", "--connections", "3"), "--connections 3: there are more"),
            (usage("bench", "put", "--clients", "1025", "--connections", "1"), "at most 1024 requests")):
        expect(wanted in said, repr(wanted), "is not in", said)
    # What cannot be a name: no server is asked.
    away = ("--endpoint", "127.0.0.1:1")
    for wrong in (("get", "Users", "k"), ("put", "Users", "k", "v"), ("del", "Users", "k"), ("add", "Users", "k", "1"),
                  ("scan", "Users"), ("table", "create", "Users"), ("table", "drop", ""),
                  ("index", "create", "users", "By"), ("index", "drop", "Users", "by"), ("index", "list", "Users"),
                  ("index", "scan", "users", "By"), ("put", "users", "k", "v", "--index", "By=x")):
        expect("cannot be the name of" in usage(*wrong, *away), *wrong)
        expect_equal(server.json(*wrong, *away, status=USAGE)["error"], "USAGE", *wrong)
    said = said_by(server, "add", "users", "zz", "5", "--min", "10", "--max", "3")
    expect("Its minimum, 10, is above its maximum, 3" in said, said)
    # With --json there is one document, but of --help.
    version = server.json("--version")["version"]
    expect_equal(server.strait("--version"), "strait %s\n" % version)
    expect_equal(server.json(status=USAGE)["error"], "USAGE")
    expect("its verbs are" in server.json("table", "foo", status=USAGE)["text"])
    expect_equal(server.strait("--json", "--help"), server.strait("--help"))
    # An index's entries have no version to tell.
    server.strait("index", "create", "users", "by_mail")
    server.strait("put", "users", "u1", "x", "--index", "by_mail=a")
    expect_equal(server.json("index", "scan", "users", "by_mail", "--keys")["records"],
                 [{"key": "u1", "index_key": "a"}])
    expect("version" in server.json("index", "scan", "users", "by_mail")["records"][0])


def test_errors_are_safe_on_a_terminal(context):
    server = context.server()
    server.strait("table", "create", "users")
    escape = "\x1b[2J\x07\u009b"
    for wrong in (("get", "users" + escape, "k"), ("get", "users", "k", "--" + escape), (escape,), ("table", escape),
                  ("scan", "users", "--limit", escape), ("index", "list", escape), ("status", "--timeout", escape),
                  ("put", "users", "k", "v", "--durability", "remote:" + escape),
                  ("status", "--endpoint", escape)):
        for arguments in (wrong, (*wrong, "--json")):
            result = server.run(*arguments)
            expect(result.returncode in (REFUSED, USAGE), arguments, result)
            said = (result.stdout + result.stderr).decode("utf-8")
            expect("\\x1b[2J\\x07\\xc2\\x9b" in said, arguments, "escaped in", repr(said))
            expect(not set(escape[0] + escape[-2:]) & set(said), arguments, "raw in", repr(said))
    # What is no UTF-8 leaves the document one.
    expect("\\xff" in json.loads(server.run(b"\xff", "--json").stdout)["text"])


def test_port_of_none(_):
    result = run([STRAITD, "--dev", "--port", "0"])
    expect_equal(result.returncode, 2, result.stderr)
    expect(b"not a port, 1 to 65535: 0" in result.stderr, result.stderr)


def test_transactions_at_the_limits(context):
    server = context.server()
    result = run([os.path.join(BUILD, "tests", "e2e", "e2e_limits")], env=server.environment())
    expect_equal(result.returncode, 0, result.stderr.decode("utf-8"))


def test_expiry(context):
    server = context.server()
    server.strait("table", "create", "carts")
    server.strait("index", "create", "carts", "by_shopper")
    server.strait("put", "carts", "c1", "x", "--ttl", "500ms", "--index", "by_shopper=ada")
    server.strait("put", "carts", "c2", "y", "--ttl", "1h")
    expect("expires_at" in json.dumps(server.json("get", "carts", "c2")), "the expiry is not shown")
    until = time.monotonic() + 10
    while server.run("get", "carts", "c1").returncode == DONE:
        expect(time.monotonic() < until, "an expired record stays")
        time.sleep(0.05)
    expect_equal(server.json("index", "scan", "carts", "by_shopper")["records"], [])
    server.stop()
    server.start()
    expect_equal(server.strait("scan", "carts", "--keys").split(), ["c2"])


def in_shell(shell, line):
    shell.stdin.write(line + "\n")
    shell.stdin.flush()
    return shell.stdout.readline()


def begin_shell(server):
    return spawn([STRAIT, "shell"], env=server.environment(), stdin=subprocess.PIPE,
                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_unknown_outcome(context):
    """A server that hangs between a commit's coming and its answer."""
    server = context.server()
    server.strait("table", "create", "users")
    shell = begin_shell(server)
    in_shell(shell, "put users u1 x")
    server.process.send_signal(signal.SIGSTOP)
    shell.stdin.write("put users u2 y --timeout 300ms\n")
    shell.stdin.close()
    begun = time.monotonic()
    said = shell.stderr.read()
    expect(time.monotonic() - begun < 3, "a deadline of 300 ms was not kept")
    expect_equal(shell.wait(timeout=20), UNKNOWN, said)
    token = re.search("[0-9a-f]{32}-[0-9a-f]{16}", said)
    expect(token is not None, "no token:", said)
    server.process.send_signal(signal.SIGCONT)
    # The commit may still be on its way when it is asked for: what is there by then is known.
    there = server.run("get", "users", "u2").returncode == DONE
    state = server.json("txn", "status", token.group())["state"]
    expect(state == "committed" or not there, state)
    expect(state != "committed" or server.run("get", "users", "u2").returncode == DONE, state)


def test_snapshots(context):
    """A scan whose reader does not read pins a version: who it is shows, and it can be ended."""
    server = context.server(kind=ConfiguredServer, settings={"limits.snapshot_age": "1s"})
    server.strait("table", "create", "big")
    for number in range(40):
        server.strait("put", "big", "k%d" % number, "-", stdin=b"x" * 1000000)

    def begin_scan():
        scan = spawn([STRAIT, "scan", "big"], env=server.environment(),
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        expect(scan.stdout.read(1), "the scan gives nothing")
        return scan

    def end_scan(scan):
        _, said = scan.communicate(timeout=30)
        expect_equal(scan.returncode, REFUSED, said)
        return said.decode("utf-8")

    scan = begin_scan()
    held = server.json("txn", "list")["snapshots"]
    expect_equal([(item["identity"], item["client"][:7]) for item in held], [("dev-admin", "strait/")])
    expect(str(held[0]["snapshot"]) in server.strait("txn", "list"), "text")
    server.strait("txn", "cancel", str(held[0]["snapshot"]))
    expect_equal(server.json("txn", "list")["snapshots"], [])
    print("cancelled: " + end_scan(scan).strip())
    scan = begin_scan()
    until = time.monotonic() + 10
    while server.json("txn", "list")["snapshots"]:
        expect(time.monotonic() < until, "a snapshot outlives its age")
        time.sleep(0.1)
    print("expired: " + end_scan(scan).strip())


def test_shell_from_a_script(context):
    server = context.server()
    script = b"""# a comment
table create users
put users 'a key' "a 'value'"

get users a\\ key
"""
    expect_equal(server.strait("shell", stdin=script).splitlines()[-1], "a 'value'")
    for last, status in ((b"get users none\n", REFUSED), (b"nonsense\n", USAGE), (b"get 'users\n", USAGE),
                         (b"ping --endpoint 127.0.0.1:1\n", USAGE)):
        result = server.run("shell", stdin=script.replace(b"table create users\n", b"") + last +
                            b"put users never x\n")
        expect_equal(result.returncode, status, last, result.stderr)
    expect_equal(server.run("get", "users", "never").returncode, REFUSED)
    expect_equal(server.run("shell", stdin=b"ping\nexit\nnonsense\n").returncode, DONE)


class Terminal:
    """`strait shell` on a terminal of its own."""

    def __init__(self, server):
        self.master, slave = pty.openpty()
        environment = dict(server.environment(), HOME=server.data, TERM="vt100")
        environment.pop("XDG_STATE_HOME", None)
        self.home = server.data
        # Its terminal's keys send it signals.
        self.process = spawn(["setsid", "--ctty", "--wait", STRAIT, "shell"], stdin=slave, stdout=slave, stderr=slave,
                             env=environment)
        os.close(slave)

    def type(self, text, wanted):
        """Types, and waits until this is seen."""
        os.write(self.master, text.encode("utf-8"))
        seen = ""
        until = time.monotonic() + 15
        while not re.search(wanted, seen):
            expect(time.monotonic() < until, "not seen after", repr(text), ":", repr(wanted), "in", repr(seen))
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    seen += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:
                    break
        return seen

    def await_settings(self, wanted, what):
        """Until the terminal's settings are so: the mode, and the key that sends a signal."""
        until = time.monotonic() + 30
        while True:
            settings = termios.tcgetattr(self.master)
            if wanted(bool(settings[3] & termios.ICANON), settings[6][termios.VINTR]):
                return
            expect(time.monotonic() < until, "never:", what, settings)
            time.sleep(0.01)

    def end_input(self):
        """Ctrl-D, once the shell reads keys: before that the terminal itself would swallow it."""
        self.await_settings(lambda is_by_line, _: not is_by_line, "the shell reads keys")
        os.write(self.master, b"\x04")

    def close(self):
        status = self.process.wait(timeout=15)
        os.close(self.master)
        return status

    def history(self):
        """The commands that are kept, the oldest first."""
        with open(os.path.join(self.home, ".strait", "history"), encoding="utf-8") as file:
            return [line.strip().replace("\\040", " ") for line in file][1:]


def test_shell_on_a_terminal(context):
    server = context.server()
    server.strait("table", "create", "users")
    terminal = Terminal(server)
    terminal.type("put users u1 Ada\n", r"version \d+")
    terminal.type("get users u1\n", r"\nAda")
    # One that fails does not end it.
    terminal.type("get users none\n", "strait: There is no such record")
    # Completion of a verb, and of a table's name; history.
    terminal.type("tab\tl\t\n", r"users")
    terminal.type("get us\tu1\n", r"\nAda")
    terminal.type("\x1b[A\n", r"\nAda")
    terminal.type("exit\n", r"exit")
    expect_equal(terminal.close(), DONE)
    terminal = Terminal(server)
    terminal.type("ping\n", "(?s)dev-admin.*strait> ")
    terminal.end_input()
    expect_equal(terminal.close(), DONE, "after the end of input")


def test_interrupts_on_a_terminal(context):
    server = context.server()
    server.strait("table", "create", "users")
    terminal = Terminal(server)
    terminal.type("put users u1 Ada\n", r"(?s)version \d+.*strait> ")
    # Ctrl-C drops the line, also an empty one; the shell goes on, and keeps its history.
    terminal.type("del users u", "del users u")
    terminal.type("\x03", r"(?s)\^C.*strait> ")
    terminal.type("\x03", r"(?s)\^C.*strait> ")
    terminal.type("get users u1\n", r"(?s)\nAda.*strait> ")
    terminal.type("\x1b[A\n", r"(?s)\nAda.*strait> ")
    expect_equal(terminal.history()[:2], ["put users u1 Ada", "get users u1"])
    # While a command runs it ends the shell, whose history is there all the same.
    server.process.send_signal(signal.SIGSTOP)
    terminal.type("get users u1 --timeout 60s\n", "60s\r\n")
    terminal.await_settings(lambda is_by_line, key: is_by_line and key == b"\x03", "the command runs")
    terminal.type("\x03", r"\^C")
    server.process.send_signal(signal.SIGCONT)
    expect(terminal.close() != DONE, "the shell went on")
    expect_equal(terminal.history()[-1], "get users u1 --timeout 60s")
    terminal = Terminal(server)
    terminal.type("ping\n", "(?s)dev-admin.*strait> ")
    terminal.type("\x1b[A\x1b[A\x03", r"(?s)60s.*\^C.*strait> ")
    terminal.type("exit\n", "exit")
    expect_equal(terminal.close(), DONE)
    expect_equal(terminal.history()[-3:], ["get users u1 --timeout 60s", "ping", "exit"])


if __name__ == "__main__":
    main(globals())
