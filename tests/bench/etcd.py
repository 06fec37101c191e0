# SPDX-License-Identifier: Apache-2.0
"""Three etcd servers on loopback, TLS for clients and members, and a load from etcd's own Go client:
what a region of ours is compared with."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build")
PACKAGES = ("etcd-server", "golang-etcd-server-dev", "golang-go", "openssl")
START_SECONDS = 30


def install():
    """What Debian calls it, where it is missing."""
    missing = [name for name in PACKAGES if subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", name], capture_output=True, text=True, check=False,
    ).stdout != "install ok installed"]
    if not missing:
        return
    print("Installing: %s" % " ".join(missing))
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*sudo, "apt-get", "update"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
                    "--no-install-recommends", *missing], check=True, stdout=subprocess.DEVNULL)


def build_load():
    """The load's program, from its source beside this file."""
    program = os.path.join(BUILD, "etcd_load")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "etcd_load.go")
    if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
        environment = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode",
                           GOCACHE=os.path.join(BUILD, "go-cache"))
        subprocess.run(["go", "build", "-o", program, source], check=True, env=environment)
    return program


def make_certificates(folder):
    """A certificate of its own, for servers, members and clients: server.crt, server.key."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", os.path.join(folder, "server.key"), "-out",
                    os.path.join(folder, "server.crt"), "-days", "2", "-subj", "/CN=bench",
                    "-addext", "subjectAltName=IP:127.0.0.1",
                    "-addext", "extendedKeyUsage=serverAuth,clientAuth"],
                   check=True, capture_output=True)


class Etcd:
    """Three members; their data lies in the build folder, on the same disk as ours does."""

    def __init__(self, port, *more):
        install()
        self.program = build_load()
        self.folder = tempfile.mkdtemp(prefix="etcd-", dir=BUILD)
        make_certificates(self.folder)
        self.endpoints = ["127.0.0.1:%d" % (port + 2 * i) for i in range(3)]
        self.members = []
        self.logs = []
        cluster = ",".join("m%d=https://127.0.0.1:%d" % (i, port + 2 * i + 1) for i in range(3))
        for i in range(3):
            self.members.append(self.start(i, port, cluster, more))
        self.wait()

    def file(self, name):
        return os.path.join(self.folder, name)

    def start(self, i, port, cluster, more):
        client, peer = "https://127.0.0.1:%d" % (port + 2 * i), "https://127.0.0.1:%d" % (port + 2 * i + 1)
        certificate = self.file("server.crt"), self.file("server.key")
        arguments = ["etcd", "--name", "m%d" % i, "--data-dir", self.file("m%d" % i),
                     "--listen-client-urls", client, "--advertise-client-urls", client,
                     "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                     "--initial-cluster", cluster, "--initial-cluster-state", "new",
                     "--logger", "zap", "--log-level", "error",
                     "--cert-file", certificate[0], "--key-file", certificate[1],
                     "--trusted-ca-file", certificate[0], "--client-cert-auth",
                     "--peer-cert-file", certificate[0], "--peer-key-file", certificate[1],
                     "--peer-trusted-ca-file", certificate[0], "--peer-client-cert-auth", *more]
        log = open(self.file("m%d.log" % i), "w", encoding="utf-8")
        self.logs.append(log)
        return subprocess.Popen(arguments, stdout=log, stderr=log)

    def wait(self):
        """Until a put succeeds."""
        until = time.monotonic() + START_SECONDS
        while subprocess.run(self.load_command("put", 1, 1, 1), capture_output=True, check=False,
                             timeout=START_SECONDS).returncode != 0:
            if time.monotonic() > until:
                sys.exit("etcd did not start; see %s" % self.folder)

    def load_command(self, workload, clients, connections, seconds):
        return [self.program, "-endpoints", ",".join(self.endpoints), "-ca", self.file("server.crt"),
                "-certificate", self.file("server.crt"), "-key", self.file("server.key"),
                "-workload", workload, "-clients", str(clients), "-connections", str(connections),
                "-seconds", str(seconds)]

    def bench(self, workload, clients, connections, seconds):
        """The figures, and the processor seconds of the three servers for 1,000 operations."""
        before = self.processor_seconds()
        figures = json.loads(subprocess.run(self.load_command(workload, clients, connections, seconds),
                                            check=True, capture_output=True, text=True).stdout)
        spent = self.processor_seconds() - before
        figures["server_cpu_seconds_per_1000"] = spent / figures["operations"] * 1000
        return figures

    def processor_seconds(self):
        total = 0
        for member in self.members:
            with open("/proc/%d/stat" % member.pid, encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def stop(self):
        for member in self.members:
            member.kill()
            member.wait()
        for log in self.logs:
            log.close()
        shutil.rmtree(self.folder)
