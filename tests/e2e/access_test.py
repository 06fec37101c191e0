# SPDX-License-Identifier: Apache-2.0
"""Who may come in, and what each role may do; certificates changed while the server runs."""
import os
import re
import signal
import socket
import ssl
import subprocess
import time

from harness import (DONE, REFUSED, STRAIT, STRAITD, UNREACHABLE, USAGE, ConfiguredServer, expect,
                     expect_equal, main, spawn)


# ---- Certificates ----

def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], check=False, capture_output=True, text=True)
    expect_equal(done.returncode, 0, "openssl", *arguments, done.stderr)


EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_authority(base):
    openssl("req", "-x509", *EC, "-keyout", base + ".key", "-out", base + ".crt", "-days", "1",
            "-subj", "/CN=an authority")


def make_certificate(base, authority, names, days=1, usage="clientAuth"):
    """BASE.crt and BASE.key, signed by AUTHORITY.crt; negative days: expired."""
    openssl("req", *EC, "-keyout", base + ".key", "-out", base + ".csr", "-subj", "/CN=dev-admin",
            *(("-addext", "subjectAltName=" + names) if names else ()),
            "-addext", "extendedKeyUsage=" + usage)
    openssl("x509", "-req", "-in", base + ".csr", "-CA", authority + ".crt", "-CAkey",
            authority + ".key", "-set_serial", str(time.time_ns()), "-days", str(days),
            "-copy_extensions", "copy", "-out", base + ".crt")
    os.chmod(base + ".key", 0o600)


def profile(server, base, ca=None):
    """A profile that comes with BASE.crt; gives the options that choose it."""
    path = base + ".profile"
    with open(path, "w", encoding="utf-8") as file:
        file.write("endpoint = 127.0.0.1:%d\nca = %s\ncertificate = %s.crt\nkey = %s.key\n"
                   % (server.port, ca or server.path("ca.crt"), base, base))
    return ("--profile", path, "--timeout", "2s")


def dev(server, role):
    return profile(server, server.path("client", "dev-" + role))


def refusal(server, *arguments, status):
    """Expects this exit status, nothing on standard output; gives what is said on standard error."""
    result = server.run(*arguments)
    expect_equal(result.returncode, status, *arguments, result.stderr.decode("utf-8"))
    expect_equal(result.stdout, b"", "standard output of", *arguments)
    return result.stderr.decode("utf-8")


def expect_says(text, *wanted):
    for part in wanted:
        expect(part.lower() in text.lower(), repr(part), "is not in:", text)


def test_roles(context):
    server = context.server()
    admin, writer, reader = (dev(server, role) for role in ("admin", "writer", "reader"))
    server.strait("table", "create", "users", *admin)
    server.strait("index", "create", "users", "by_mail", *admin)
    server.strait("put", "users", "u1", "Ada", *writer)
    for options in (admin, writer, reader):
        expect_equal(server.strait("get", "users", "u1", *options), "Ada\n")
        expect("u1" in server.strait("scan", "users", *options), "scan")
        server.strait("table", "list", *options)
        server.strait("index", "list", *options)
        server.strait("index", "scan", "users", "by_mail", *options)
        server.strait("status", *options)
        server.strait("ping", *options)
    expect("dev-reader" in server.strait("ping", *reader) and
           "reader" in server.strait("ping", *reader), "ping tells identity and role")
    for command in (("put", "users", "u2", "x"), ("del", "users", "u1"), ("add", "users", "n", "1")):
        said = refusal(server, *command, *reader, status=REFUSED)
        expect_says(said, "reader", "writer")
        expect_equal(server.json(*command, *reader, status=REFUSED)["error"], "PERMISSION_DENIED")
    for command in (("table", "create", "t"), ("table", "drop", "users"),
                    ("index", "create", "users", "i"), ("index", "drop", "users", "by_mail"),
                    ("txn", "list"), ("txn", "cancel", "1"), ("check",)):
        for options, name in ((reader, "reader"), (writer, "writer")):
            expect_says(refusal(server, *command, *options, status=REFUSED), name, "admin")
    # Nothing of it was done.
    expect_equal(server.strait("get", "users", "u1", *reader), "Ada\n")
    tables = server.json("table", "list", *reader)["tables"]
    expect_equal([table["table"] for table in tables], ["users"])


def test_who_may_not_come_in(context):
    server = context.server()
    server.strait("table", "create", "users")
    foreign = server.path("foreign")
    make_authority(foreign)
    ours = server.path("ca")
    for name, authority, names, days, usage in (
            ("stranger", foreign, "URI:strait:dev-admin", 1, "clientAuth"),
            ("expired", ours, "URI:strait:dev-admin", -1, "clientAuth"),
            ("unlisted", ours, "URI:strait:nobody", 1, "clientAuth"),
            ("nameless", ours, None, 1, "clientAuth"),  # its common name is dev-admin
            ("doubled", ours, "URI:strait:dev-admin,URI:strait:dev-reader", 1, "clientAuth"),
            ("server-only", ours, "URI:strait:dev-admin", 1, "serverAuth")):
        make_certificate(server.path(name), authority, names, days, usage)
    said = {}
    for name in ("stranger", "expired", "unlisted", "nameless", "doubled", "server-only"):
        result = server.run("table", "list", *profile(server, server.path(name)))
        said[name] = result.stderr.decode("utf-8")
        print("%s: exit %d: %s" % (name, result.returncode, said[name].strip()))
        expect(result.returncode in (REFUSED, UNREACHABLE), name, said[name])
        expect_equal(result.stdout, b"", name)
    expect_says(said["stranger"], "certificate")
    expect_says(said["expired"], "expired")
    expect_says(said["unlisted"], "nobody")
    expect_says(said["nameless"], "certificate")
    expect_says(said["doubled"], "certificate")
    expect_says(said["server-only"], "certificate")
    # The other way about: a server whose authority the client does not know.
    mine = dev(server, "admin")[1]
    with open(mine, encoding="utf-8") as file:
        text = file.read().replace(server.path("ca.crt"), foreign + ".crt")
    with open(server.path("wrong-ca.profile"), "w", encoding="utf-8") as file:
        file.write(text)
    expect_says(refusal(server, "ping", "--profile", server.path("wrong-ca.profile"), "--timeout",
                        "2s", status=UNREACHABLE), "certificate")
    # Files that are missing, or do not belong together.
    os.rename(server.path("unlisted.key"), server.path("unlisted.kept"))
    expect_says(refusal(server, "ping", *profile(server, server.path("unlisted")),
                        status=UNREACHABLE), "unlisted.key")
    os.link(server.path("expired.key"), server.path("unlisted.key"))
    expect_says(refusal(server, "ping", *profile(server, server.path("unlisted")),
                        status=UNREACHABLE), "unlisted")
    server.strait("ping")


def connect(server, base=None, version=ssl.TLSVersion.TLSv1_3):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.load_verify_locations(server.path("ca.crt"))
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.maximum_version = version
    if base is not None:
        tls.load_cert_chain(base + ".crt", base + ".key")
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    return tls.wrap_socket(plain, server_hostname="localhost")


def serial(server):
    """The server's certificate's serial number, of a new connection."""
    with connect(server, server.path("client", "dev-reader")) as session:
        return session.getpeercert()["serialNumber"]


def test_tls(context):
    server = context.server()
    with connect(server, server.path("client", "dev-reader")) as session:
        expect_equal(session.version(), "TLSv1.3")
    try:
        # With TLS 1.3 a client learns that it was refused at its first read.
        with connect(server) as session:
            session.recv(1)
        raise AssertionError("a client without a certificate came in")
    except ssl.SSLError as error:
        expect_says(str(error), "certificate required")
    try:
        with connect(server, server.path("client", "dev-reader"), ssl.TLSVersion.TLSv1_2) as session:
            raise AssertionError("TLS 1.2 was taken: " + session.version())
    except ssl.SSLError as error:
        expect_says(str(error), "version")
    server.strait("ping")


def wait_for_log(server, text, before):
    until = time.monotonic() + 10
    while text not in server.log()[before:]:
        expect(time.monotonic() < until, text, "is not in the log:", server.log()[before:])
        time.sleep(0.02)


def test_the_access_list_is_read_anew(context):
    server = context.server(kind=ConfiguredServer, access=[("shop", "writer"), ("reports", "reader")])
    server.strait("table", "create", "users")
    for name in ("shop", "reports"):
        make_certificate(server.path(name), server.path("ca"), "URI:strait:" + name)
    shop, reports = (profile(server, server.path(name)) for name in ("shop", "reports"))
    server.strait("put", "users", "u1", "Ada", *shop)
    expect_equal(server.strait("get", "users", "u1", *reports), "Ada\n")
    # A connection that stays open.
    shell = spawn([STRAIT, *shop, "shell"], env=server.environment(), stdin=subprocess.PIPE,
                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)

    def in_shell(line):
        shell.stdin.write(line + "\n")
        shell.stdin.flush()
        return shell.stdout.readline()

    def reload(event):
        before = len(server.log())
        server.process.send_signal(signal.SIGHUP)
        wait_for_log(server, event, before)
        return server.log()[before:]

    expect("Ada" in in_shell("get users u1"), "the shell's get")
    # A list that cannot be used changes nothing, and is said with its line.
    with open(server.config_path, encoding="utf-8") as file:
        good = file.read()
    with open(server.config_path, "w", encoding="utf-8") as file:
        file.write(good.replace("role: reader", "role: king"))
    said = reload("reload_failed")
    expect("straitd.yaml:" in said and "role" in said and "stays in force" in said, said)
    server.strait("put", "users", "u1", "Eve", *shop)
    expect("Eve" in in_shell("get users u1"), "the connection of before ended")
    # One is off the list, another may write; the connection of before does not outlive its role.
    server.access = [("reports", "writer")]
    server.write_config()
    reload("access_reloaded")
    refused = server.run("get", "users", "u1", *shop)
    expect(refused.returncode != DONE and b"access list" in refused.stderr, refused.stderr)
    server.strait("put", "users", "u1", "Bob", *reports)
    expect("access list" in in_shell("get users u1"), "a connection of who may not come in any more")
    shell.stdin.close()
    expect(shell.wait(timeout=20) != DONE, "the shell ended well")
    expect_equal(server.strait("get", "users", "u1"), "Bob\n")


def test_certificates_are_read_anew(context):
    server = context.server(kind=ConfiguredServer)
    server.strait("table", "create", "users")
    first = serial(server)
    # A connection from before, which must go on.
    shell = spawn([STRAIT, "shell"], env=server.environment(), stdin=subprocess.PIPE,
                  stdout=subprocess.PIPE, text=True, bufsize=1)

    def in_shell(line):
        shell.stdin.write(line + "\n")
        shell.stdin.flush()
        return shell.stdout.readline()

    in_shell("put users u1 Ada")
    expect("Ada" in in_shell("get users u1"), "the shell's get")
    make_certificate(server.path("server"), server.path("ca"), "DNS:localhost,IP:127.0.0.1",
                     usage="serverAuth")
    expect_equal(serial(server), first, "before SIGHUP")
    before = len(server.log())
    server.process.send_signal(signal.SIGHUP)
    wait_for_log(server, "certificates_reloaded", before)
    second = serial(server)
    expect(second != first, "the old certificate is still in use")
    expect("Ada" in in_shell("get users u1"), "the connection of before ended")
    # One that cannot be used changes nothing, and is said.
    with open(server.path("server.crt"), "w", encoding="ascii") as file:
        file.write("no certificate\n")
    before = len(server.log())
    server.process.send_signal(signal.SIGHUP)
    wait_for_log(server, "reload_failed", before)
    expect("server.crt" in server.log()[before:], server.log()[before:])
    expect_equal(serial(server), second, "after a reload that failed")
    expect("Ada" in in_shell("get users u1"), "the connection of before ended")
    # Another authority for clients: those of the old one are out, also with a session of before.
    other = server.path("other")
    make_authority(other)
    make_certificate(server.path("new-admin"), other, "URI:strait:dev-admin")
    make_certificate(server.path("server"), server.path("ca"), "DNS:localhost,IP:127.0.0.1",
                     usage="serverAuth")
    os.rename(server.path("ca.crt"), server.path("old-ca.crt"))
    os.rename(other + ".crt", server.path("ca.crt"))
    before = len(server.log())
    server.process.send_signal(signal.SIGHUP)
    wait_for_log(server, "certificates_reloaded", before)
    server.strait("ping", *profile(server, server.path("new-admin"), server.path("old-ca.crt")))
    result = server.run("ping", *profile(server, server.path("client", "dev-admin"),
                                         server.path("old-ca.crt")))
    expect(result.returncode != DONE, "a client of the authority of before came in")
    shell.stdin.close()
    expect_equal(shell.wait(timeout=20), DONE)


def test_configured(context):
    server = context.server(kind=ConfiguredServer, access=[("shop", "writer"), ("a@b.example", "reader")],
                            settings={"threads.net": 2, "threads.workers": 2,
                                      "memory.cache_size": "8MiB", "log.level": "debug"})
    make_certificate(server.path("shop"), server.path("ca"), "DNS:shop,DNS:other")
    make_certificate(server.path("mail"), server.path("ca"), "email:a@b.example")
    server.strait("table", "create", "users")
    server.strait("put", "users", "u1", "Ada", *profile(server, server.path("shop")))
    mail = profile(server, server.path("mail"))
    expect_equal(server.strait("get", "users", "u1", *mail), "Ada\n")
    refusal(server, "put", "users", "u1", "Eve", *mail, status=REFUSED)
    server.stop()
    server.start()
    expect_equal(server.strait("get", "users", "u1"), "Ada\n")
    server.stop()
    checked = subprocess.run([STRAITD, "--config", server.config_path, "--check"], check=False,
                             capture_output=True, text=True)
    expect_equal(checked.returncode, 0, checked.stderr)
    with open(server.config_path, encoding="utf-8") as file:
        good = file.read()
    for key in ("certificate", "key", "ca", "master_key_file"):
        with open(server.config_path, "w", encoding="utf-8") as file:
            file.write(re.sub(r"(?m)^(\s+%s:).*$" % key, r"\1 /nowhere/%s" % key, good))
        checked = subprocess.run([STRAITD, "--config", server.config_path, "--check"], check=False,
                                 capture_output=True, text=True)
        expect_equal(checked.returncode, 1, checked.stdout)
        expect("/nowhere/" + key in checked.stderr, checked.stderr)
    for line, key in (("colour: red", "colour"), ("data: /tmp/elsewhere", "data")):
        with open(server.config_path, "w", encoding="utf-8") as file:
            file.write(good + line + "\n")
        number = good.count("\n") + 1
        server.refuses_to_start("straitd.yaml:%d" % number, key)
    for arguments in ((), ("--dev", "--config", "x"), ("--nonsense",), ("--dev", "more")):
        used = subprocess.run([STRAITD, *arguments], check=False, capture_output=True, text=True,
                              timeout=20)
        expect_equal(used.returncode, USAGE, *arguments)


if __name__ == "__main__":
    main(globals())
