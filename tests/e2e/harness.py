# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests stand on: a development server of a test's own, and the `strait` command.

A test file is a list of functions `test_...(context)`, run by main(). An assertion that fails ends the
file; the server's log is printed. skip() ends it with the status that ctest shows as skipped."""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("STRAIT_BUILD", os.path.join(ROOT, "build"))
STRAITD = os.path.join(BUILD, "straitd")
# Tomorrow's: its cluster version is one higher.
STRAITD_NEXT = os.path.join(BUILD, "tests", "e2e", "straitd-next")
STRAIT = os.path.join(BUILD, "strait")
SHARED_DATA = os.environ.get("STRAIT_SHARED_DATA", os.path.join(os.path.dirname(ROOT), "shared", "data"))

DONE, REFUSED, USAGE, UNREACHABLE, UNKNOWN = 0, 1, 2, 3, 4


class Skip(Exception):
    pass


def skip(why):
    raise Skip(why)


def expect(condition, *what):
    if not condition:
        raise AssertionError(" ".join(str(part) for part in what) or "expectation failed")


def expect_equal(got, wanted, *what):
    expect(got == wanted, *what, "got", repr(got), "wanted", repr(wanted))


claimed = {}  # by port: the socket whose name nobody else can take while this process runs


def claim_port(port):
    """Whether no other test, of this process or another, has the port or is about to."""
    if port in claimed:
        return False
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind("\0strait-e2e-port-%d" % port)
    except OSError:
        claim.close()
        return False
    claimed[port] = claim
    return True


def free_port():
    """Below those that the system gives to outgoing connections, so that none takes it meanwhile;
    and this process's own until it ends, also before a server listens there."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if claim_port(port):
            return port


children = []  # what spawn() started and nobody has waited for yet


def spawn(arguments, **options):
    """As subprocess.Popen, of a process that does not outlive its test, however that ends."""
    process = subprocess.Popen(arguments, **options)
    children.append(process)
    return process


def end_children():
    while children:
        process = children.pop()
        if process.poll() is None:
            process.kill()
            process.wait(timeout=60)


def run(arguments, stdin=None, timeout=120, **options):
    """As subprocess.run, with what it says captured, of a process that does not outlive its test."""
    process = spawn(arguments, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    try:
        out, said = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    finally:
        if process.returncode is not None and process in children:
            children.remove(process)
    return subprocess.CompletedProcess(arguments, process.returncode, out, said)


class Server:
    """One straitd --dev. Its data outlives stop() and kill(); close() removes it."""

    def __init__(self, data=None, options=(), start=True):
        self.data = data or tempfile.mkdtemp(prefix="strait-e2e-")
        self.options = list(options)
        self.port = free_port()
        self.process = None
        self.ready = None
        self.store = os.path.join(self.data, "store")
        self.log_path = os.path.join(self.data, "straitd.log")
        if start:
            self.start()

    def path(self, *names):
        return os.path.join(self.data, *names)

    def command(self):
        return [STRAITD, "--dev", "--data", self.data, "--port", str(self.port), *self.options]

    def spawn(self):
        """Starts it and waits for nothing. It tells by sd_notify(3) when it is ready."""
        path = os.path.join(self.data, "notify")
        if os.path.lexists(path):
            os.unlink(path)
        if self.ready is not None:
            self.ready.close()
        self.ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ready.bind(path)
        self.ready.settimeout(0.02)
        # A home of its own: --dev puts a link to its profile there.
        environment = dict(os.environ, NOTIFY_SOCKET=path, HOME=self.data)
        with open(self.log_path, "a", encoding="utf-8") as log:
            self.process = spawn(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                 env=environment)

    def wait_ready(self, timeout=60):
        """Waits until it is ready, or has ended. Returns whether it is ready."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            try:
                if b"READY=1" in self.ready.recv(4096):
                    return True
            except socket.timeout:
                if self.process.poll() is not None:
                    return False
        raise AssertionError("straitd neither became ready nor ended\n" + self.log()[-3000:])

    def start(self, wanted=True):
        self.spawn()
        ready = self.wait_ready()
        expect(ready == wanted, "straitd ready:", ready, "\n" + self.log()[-3000:])
        return ready

    def refuses_to_start(self, *texts):
        """Expects it to end with status 1 and these texts in what it says; gives all it says."""
        before = len(self.log())
        self.start(wanted=False)
        said = self.log()[before:]
        expect_equal(self.process.returncode, 1, "straitd's exit status\n" + said)
        for text in texts:
            expect(text in said, repr(text), "is not in what straitd said:\n" + said)
        return said

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        expect_equal(status, 0, "straitd's exit status after SIGTERM", "\n" + self.log()[-3000:])

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=30)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()
        if self.ready is not None:
            self.ready.close()
        shutil.rmtree(self.data, ignore_errors=True)

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def environment(self):
        return dict(os.environ, STRAIT_PROFILE=os.path.join(self.data, "profile"))

    def run(self, *arguments, stdin=None, timeout=120):
        """Runs `strait`; gives the finished process, whatever its exit status."""
        return run([STRAIT, *arguments], stdin=stdin, timeout=timeout, env=self.environment())

    def strait(self, *arguments, status=DONE, stdin=None, timeout=120):
        """Runs `strait` and expects this exit status; gives standard output as text."""
        result = self.run(*arguments, stdin=stdin, timeout=timeout)
        expect_equal(result.returncode, status, "strait", *arguments, "\n", result.stdout[-2000:].decode("utf-8", "replace"),
                     "\n", result.stderr[-2000:].decode("utf-8", "replace"), "\n")
        return result.stdout.decode("utf-8")

    def json(self, *arguments, status=DONE, timeout=120):
        return json.loads(self.strait(*arguments, "--json", status=status, timeout=timeout))


class ConfiguredServer(Server):
    """One straitd --config, with the keys and certificates that --dev makes.

    `settings` maps "section.key" to a value, in addition to or in place of what is needed; None takes
    one away. `access` is a list of (identity, role) beside those of --dev."""

    def __init__(self, settings=None, access=(), start=True):
        self.settings = settings or {}
        self.access = list(access)
        super().__init__(start=False)
        made = subprocess.run([*super().command(), "--check"], check=False, capture_output=True,
                              text=True, env=dict(os.environ, HOME=self.data))
        expect_equal(made.returncode, 0, "straitd --dev --check", made.stderr)
        self.config_path = self.path("straitd.yaml")
        self.write_config()
        if start:
            self.start()

    def write_config(self):
        values = {"data": self.store, "listen": "127.0.0.1:%d" % self.port,
                  "tls.certificate": self.path("server.crt"), "tls.key": self.path("server.key"),
                  "tls.ca": self.path("ca.crt"),
                  "encryption.master_key_file": self.path("master.key"), **self.settings}
        sections = {}
        for name, value in values.items():
            if value is not None:
                section, _, key = name.rpartition(".")
                sections.setdefault(section, []).append("%s: %s" % (key, value))
        lines = sections.pop("")
        for section, pairs in sections.items():
            lines += ["%s:" % section, *("  " + pair for pair in pairs)]
        lines.append("access:")
        dev = [("dev-" + role, role) for role in ("admin", "writer", "reader")]
        for identity, role in dev + self.access:
            lines += ["  - identity: %s" % identity, "    role: %s" % role]
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def command(self):
        return [STRAITD, "--config", self.config_path]


class Context:
    """What is closed at a test's end, also of one that failed."""

    def __init__(self):
        self.servers = []

    def server(self, kind=Server, start=True, **options):
        server = kind(start=False, **options)
        self.servers.append(server)
        if start:
            server.start()
        return server

    def close(self):
        end_children()
        for server in self.servers:
            server.close()


def on_signal(number, _):
    """As an exception, so that what a test started ends with it."""
    raise SystemExit("signal %d" % number)


def main(tests):
    only = sys.argv[1:]
    signal.signal(signal.SIGTERM, on_signal)
    skipped = ran = 0
    for name, test in list(tests.items()):
        if not name.startswith("test_") or (only and name not in only):
            continue
        context = Context()
        begun = time.monotonic()
        try:
            test(context)
            ran += 1
            print("%s: passed in %.1f s" % (name, time.monotonic() - begun), flush=True)
        except Skip as why:
            skipped += 1
            print("%s: SKIPPED: %s" % (name, why), flush=True)
        except Exception:
            traceback.print_exc()
            for server in context.servers:
                if os.path.exists(server.log_path):
                    print("--- log of %s" % server.data)
                    print(server.log()[-4000:])
            print("%s: FAILED" % name, flush=True)
            sys.exit(1)
        finally:
            context.close()
    if ran == 0 and skipped == 0:
        sys.exit("no test ran")
    sys.exit(77 if ran == 0 else 0)
