# SPDX-License-Identifier: Apache-2.0
"""A region of several servers on loopback, as an operator would make one: certificates, files of
configuration, `--bootstrap`, `strait member add` and `promote`."""
import json
import os
import shutil
import subprocess
import tempfile
import time

from harness import DONE, STRAIT, STRAITD, Server, expect, expect_equal, free_port, run, spawn

ELECTION_TIMEOUT = "300ms"


def openssl(*arguments, text=None):
    result = subprocess.run(["openssl", *arguments], check=False, capture_output=True, input=text)
    expect_equal(result.returncode, 0, "openssl", *arguments, result.stderr.decode("utf-8", "replace"))


class Authority:
    """Signs what all members trust."""

    def __init__(self, folder):
        self.folder = folder
        self.certificate = os.path.join(folder, "ca.crt")
        self.key = os.path.join(folder, "ca.key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.key, "-out", self.certificate, "-days", "30", "-subj", "/CN=region",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, alternatives, usage):
        """NAME.crt and NAME.key in its folder; their paths."""
        certificate, key, request, extensions = (
            os.path.join(self.folder, name + end) for end in (".crt", ".key", ".csr", ".ext"))
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", key, "-out", request, "-subj", "/CN=" + name)
        with open(extensions, "w", encoding="utf-8") as file:
            file.write("subjectAltName=%s\nextendedKeyUsage=%s\n" % (alternatives, usage))
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-out", certificate, "-days", "30", "-extfile", extensions)
        os.chmod(key, 0o600)
        return certificate, key


class Member(Server):
    """One straitd --config of a region."""

    def __init__(self, region, name):
        self.region = region
        self.name = name
        self.peers = "127.0.0.1:%d" % free_port()
        self.http = "127.0.0.1:%d" % free_port()
        self.extra = []
        self.program = STRAITD
        super().__init__(data=os.path.join(region.folder, name), start=False)
        self.clients = "127.0.0.1:%d" % self.port
        os.makedirs(self.data, exist_ok=True)
        self.certificate, self.key = region.authority.issue(
            name, "URI:strait:%s,IP:127.0.0.1" % name, "serverAuth,clientAuth")
        self.master_key = self.path("master.key")
        with open(os.open(self.master_key, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(os.urandom(32).hex() + "\n")
        self.config_path = self.path("straitd.yaml")
        self.write_config()

    def write_config(self):
        region = self.region
        lines = ["data: %s" % self.store, "listen: %s" % self.clients,
                 "tls:", "  certificate: %s" % self.certificate, "  key: %s" % self.key,
                 "  ca: %s" % region.authority.certificate,
                 "encryption:", "  master_key_file: %s" % self.master_key,
                 "region:", "  name: %s" % self.name, "  listen: %s" % self.peers,
                 "  clients: %s" % self.clients, "  cluster_id: %s" % region.cluster_id,
                 *(["  election_timeout: %s" % region.election_timeout] if region.election_timeout else []),
                 *["  " + line for line in region.section], *region.sections,
                 "http:", "  listen: %s" % self.http, "access:"]
        identities = [("admin", "admin"), ("app", "writer")]
        identities += [(name, "peer") for name in region.known_names]
        for identity, role in identities:
            lines += ["  - identity: %s" % identity, "    role: %s" % role]
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def command(self):
        return [self.program, "--config", self.config_path, *self.extra]

    def bootstrap(self):
        self.extra = ["--bootstrap"]
        self.start()
        self.extra = []

    def wipe(self):
        """Its disk is lost."""
        shutil.rmtree(self.store)

    def environment(self):
        return self.region.environment(self.clients)

    def close(self):
        super().close()


class Region:
    """`count` members, n1 to nN, all voters. `spare`: names that certificates and access know too.
    Without an `election_timeout` it is the server's own. Of several regions in a cluster: `folder`
    and `authority` are shared, `prefix` differs, `others` are the members' names elsewhere, and
    `section` has further lines of the configuration's section `region`, `sections` of further ones."""

    member_class = Member

    def __init__(self, count=3, spare=(), start=True, election_timeout=ELECTION_TIMEOUT, cluster=None,
                 prefix="n", others=(), section=(), sections=()):
        self.election_timeout = election_timeout
        self.cluster = cluster
        self.folder = tempfile.mkdtemp(prefix="strait-region-") if cluster is None else cluster.folder
        self.cluster_id = os.urandom(16).hex() if cluster is None else cluster.cluster_id
        self.authority = Authority(self.folder) if cluster is None else cluster.authority
        self.names = [prefix + "%d" % (i + 1) for i in range(count)] + list(spare)
        self.known_names = self.names + list(others)
        self.section = list(section)
        self.sections = list(sections)
        self.members = {}
        if cluster is None:
            for role in ("admin", "app"):
                self.authority.issue(role, "URI:strait:" + role, "clientAuth")
        for name in self.names[:count]:
            self.members[name] = self.member_class(self, name)
        self.profile = os.path.join(self.folder, "profile" if cluster is None else prefix + ".profile")
        with open(self.profile, "w", encoding="utf-8") as file:
            file.write("endpoint = %s\nca = ca.crt\ncertificate = admin.crt\nkey = admin.key\n"
                       % ",".join(member.clients for member in self.members.values()))
        self.log_path = self.profile
        if start:
            self.start()

    data = property(lambda self: self.folder)

    def log(self):
        """The ends of all members' logs."""
        return "\n".join("--- %s\n%s" % (name, member.log()[-3000:]) for name, member in self.members.items())

    def environment(self, endpoint=None):
        environment = dict(os.environ, STRAIT_PROFILE=self.profile)
        environment.pop("STRAIT_ENDPOINT", None)
        if endpoint is not None:
            environment["STRAIT_ENDPOINT"] = endpoint
        return environment

    def start(self):
        first, *others = self.members.values()
        first.bootstrap()
        for member in others:
            self.join(member)

    def join(self, member):
        """Starts it with an empty disk, and makes it a voter."""
        member.start()
        self.strait("member", "add", member.name, member.peers)
        self.promote(member.name)

    def promote(self, name, seconds=60):
        until = time.monotonic() + seconds
        while True:
            result = self.run("member", "promote", name)
            if result.returncode == DONE:
                return
            expect(time.monotonic() < until, "not promoted:", result.stderr)
            time.sleep(0.1)

    def run(self, *arguments, timeout=120):
        return run([STRAIT, *arguments], timeout=timeout, env=self.environment())

    def spawn(self, *arguments):
        return spawn([STRAIT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                     env=self.environment())

    def strait(self, *arguments, status=DONE, timeout=120):
        result = self.run(*arguments, timeout=timeout)
        expect_equal(result.returncode, status, "strait", *arguments, "\n",
                     result.stdout[-2000:].decode("utf-8", "replace"), "\n",
                     result.stderr[-2000:].decode("utf-8", "replace"), "\n")
        return result.stdout.decode("utf-8")

    def json(self, *arguments, status=DONE, timeout=120):
        return json.loads(self.strait(*arguments, "--json", status=status, timeout=timeout))

    def leader(self, seconds=30):
        """The member that leads, once one does."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            result = self.run("member", "list", "--json", timeout=30)
            if result.returncode == DONE:
                for member in json.loads(result.stdout)["members"]:
                    if member["leader"] and member["name"] in self.members:
                        return self.members[member["name"]]
            time.sleep(0.05)
        raise AssertionError("no leader in %d s\n%s" % (seconds, self.log()))

    def close(self):
        for member in self.members.values():
            member.close()
        if self.cluster is not None:
            return  # which removes what they share
        shutil.rmtree(self.folder, ignore_errors=True)
