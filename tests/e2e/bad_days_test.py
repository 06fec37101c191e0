# SPDX-License-Identifier: Apache-2.0
"""Bad input and bad days: two servers on one directory, keys that are wrong, a format of the future, a
kernel without io_uring, and peers that send garbage, too much, too slowly, or nothing."""
import ctypes
import ctypes.util
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import time

from harness import ConfiguredServer, Server, expect, expect_equal, main


def contents(folder):
    """All names below a folder with mode, time of change and a hash of what is in them."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(path, name)
            about = os.stat(file)
            with open(file, "rb") as data:  # of a segment of the log, the time tells the rest
                found[os.path.relpath(file, folder)] = (
                    about.st_mode, about.st_size, about.st_mtime_ns,
                    hashlib.sha256(data.read(1 << 20)).hexdigest())
    return found


def expect_untouched(server, before):
    after = contents(server.store)
    changed = sorted(name for name in set(before) | set(after) if before.get(name) != after.get(name))
    expect_equal(changed, [], "changed by a server that refused to start")


def test_two_servers_on_one_directory(context):
    first = context.server(kind=ConfiguredServer)
    first.strait("table", "create", "users")
    first.strait("put", "users", "u1", "Ada")
    second = context.server(kind=ConfiguredServer, settings={"data": first.store}, start=False)
    second.refuses_to_start("Another straitd serves", first.store)
    expect_equal(first.strait("get", "users", "u1"), "Ada\n")
    # And two of --dev.
    dev = context.server()
    other = Server(start=False)
    context.servers.append(other)
    other.command = lambda: [*Server.command(dev)[:-1], str(other.port)]
    other.refuses_to_start("already", dev.data)
    dev.strait("ping")
    # Two on one port.
    third = context.server(kind=ConfiguredServer, settings={"listen": "127.0.0.1:%d" % first.port},
                           start=False)
    third.refuses_to_start("port %d" % first.port)
    # kill -9 leaves no lock behind.
    first.kill()
    second.write_config()
    second.settings["encryption.master_key_file"] = first.path("master.key")
    second.write_config()
    second.start()
    expect_equal(second.strait("get", "users", "u1"), "Ada\n")
    second.stop()


def test_keys(context):
    server = context.server(kind=ConfiguredServer)
    server.strait("table", "create", "users")
    server.strait("put", "users", "u1", "Ada")
    server.kill()
    before = contents(server.store)
    key = server.path("master.key")
    with open(key, encoding="ascii") as file:
        right = file.read()

    def write_key(text, mode=0o600):
        if os.path.exists(key):
            os.unlink(key)
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, mode), "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(key, mode)

    for text, mode, said in (("0" * 64 + "\n", 0o600, "master key"), ("0" * 63, 0o600, "master.key"),
                             ("", 0o600, "master.key"), (right, 0o644, "chmod 600"),
                             (right, 0o640, "chmod 600"), (right, 0o602, "chmod 600")):
        write_key(text, mode)
        server.refuses_to_start(key, said)
        expect_untouched(server, before)
    os.unlink(key)
    server.refuses_to_start(key)
    expect_untouched(server, before)
    # Encryption turned off over a store that is encrypted.
    server.settings = {"encryption.master_key_file": None, "encryption.off": "true"}
    server.write_config()
    server.refuses_to_start("encrypted")
    expect_untouched(server, before)
    # From a command: one that fails, one that says nothing, one that hangs on to nothing, the right one.
    write_key(right)
    for command in ("/bin/false", "/bin/true", "/nonexistent/command"):
        server.settings = {"encryption.master_key_file": None, "encryption.master_key_command": command}
        server.write_config()
        server.refuses_to_start("master key command")
        expect_untouched(server, before)
    script = server.path("ask-the-key-service")
    with open(script, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexec cat %s\n" % key)
    os.chmod(script, 0o700)
    server.settings["encryption.master_key_command"] = script
    server.write_config()
    server.start()
    expect_equal(server.strait("get", "users", "u1"), "Ada\n")
    server.stop()
    # A key of --dev is never made anew over a store.
    dev = context.server()
    dev.stop()
    before = contents(dev.store)
    os.unlink(dev.path("master.key"))
    dev.refuses_to_start("master.key")
    expect_untouched(dev, before)


def test_registry_gone(context):
    server = context.server()
    server.strait("table", "create", "users")
    server.stop()
    for copy in "ab":
        os.rename(server.path("store", "keys." + copy), server.path("kept." + copy))
    before = contents(server.store)
    server.refuses_to_start("key registry")
    expect_untouched(server, before)
    for copy in "ab":
        os.rename(server.path("kept." + copy), server.path("store", "keys." + copy))
    server.start()


def xxh3(data):
    library = ctypes.CDLL(ctypes.util.find_library("xxhash"))
    library.XXH3_64bits.restype = ctypes.c_uint64
    return library.XXH3_64bits(data, ctypes.c_size_t(len(data)))


def test_another_format(context):
    """Version fields as a later release would write them; ours names the file and touches nothing."""
    server = context.server()
    server.strait("table", "create", "users")
    server.stop()
    for names, offset in ((("keys.a", "keys.b"), 4), (("lsm/manifest.a", "lsm/manifest.b"), 4),
                          (("wal/hard-state.a", "wal/hard-state.b"), 4)):
        kept = {}
        for name in names:
            path = server.path("store", name)
            with open(path, "rb") as file:
                kept[path] = file.read()
            data = bytearray(kept[path])
            expect_equal(struct.unpack_from("<H", data, offset)[0], 1, name, "version")
            struct.pack_into("<H", data, offset, 9)
            struct.pack_into("<Q", data, 136, xxh3(bytes(data[:136])))
            with open(path, "wb") as file:
                file.write(data)
        before = contents(server.store)
        said = server.refuses_to_start(os.path.basename(names[0]))
        expect("newer" in said, said)
        expect_untouched(server, before)
        for path, data in kept.items():
            with open(path, "wb") as file:
                file.write(data)
    server.start()


# ---- io_uring forbidden ----

class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8),
                ("k", ctypes.c_uint32)]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(Filter))]


def forbid_io_uring(error):
    """For the child, before exec: a seccomp filter that answers io_uring_setup(2) with this errno."""
    pr_set_no_new_privs, pr_set_seccomp, seccomp_mode_filter = 38, 22, 2
    io_uring_setup = 425  # on all architectures
    load, jump_equal, give = 0x20, 0x15, 0x06
    rules = (Filter * 4)(Filter(load, 0, 0, 0), Filter(jump_equal, 0, 1, io_uring_setup),
                         Filter(give, 0, 0, 0x00050000 | error), Filter(give, 0, 0, 0x7FFF0000))
    program = Program(4, rules)
    libc = ctypes.CDLL(None, use_errno=True)

    def apply():
        if libc.prctl(pr_set_no_new_privs, 1, 0, 0, 0) != 0 or \
                libc.prctl(pr_set_seccomp, seccomp_mode_filter, ctypes.byref(program), 0, 0) != 0:
            os._exit(99)
    return apply


def test_io_uring_forbidden(context):
    server = context.server(start=False)
    for error, name in ((1, "EPERM"), (38, "ENOSYS")):
        done = subprocess.run(server.command(), check=False, capture_output=True, text=True, timeout=30,
                              preexec_fn=forbid_io_uring(error), env=dict(os.environ, HOME=server.data))
        said = done.stdout + done.stderr
        expect_equal(done.returncode, 1, name, said)
        expect("io_uring" in said, name, said)
        if error == 1:
            expect("kernel.io_uring_disabled" in said and "seccomp" in said, name, said)
        else:
            expect("CONFIG_IO_URING" in said, name, said)
        expect(not os.path.exists(server.store) or not contents(server.store), "it wrote something")
    server.start()


# ---- What comes over the wire ----

HELLO, PING, COMMIT = 1, 2, 3
REPLY = 0x8000


def connect(server):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.load_verify_locations(server.path("ca.crt"))
    tls.load_cert_chain(server.path("client", "dev-admin.crt"), server.path("client", "dev-admin.key"))
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=15)
    return tls.wrap_socket(plain)


def frame(kind, body=b"", number=7, status=0, size=None):
    return struct.pack("<IHHQ", len(body) if size is None else size, kind, status, number) + body


def hello(version=1, number=1):
    return frame(HELLO, bytes([8, version]), number=number)


def read_all(session):
    """All that comes until the server closes."""
    data = b""
    try:
        while True:
            more = session.recv(65536)
            if not more:
                return data
            data += more
    except (ConnectionResetError, ssl.SSLError, BrokenPipeError):
        return data


def read_frame(session):
    header = b""
    while len(header) < 16:
        more = session.recv(16 - len(header))
        expect(more, "the server closed")
        header += more
    size, kind, status, number = struct.unpack("<IHHQ", header)
    body = b""
    while len(body) < size:
        body += session.recv(size - len(body))
    return kind, status, number, body


def answer_to(server, data):
    """Sends this after a hello that was taken, and gives the status of the answer."""
    with connect(server) as session:
        session.sendall(hello())
        expect_equal(read_frame(session)[:2], (HELLO | REPLY, 0), "the hello")
        session.sendall(data)
        return read_frame(session)[1]  # it may close then: it does where the stream cannot be trusted


def statuses(data):
    found = []
    while len(data) >= 16:
        size, _, status, _ = struct.unpack_from("<IHHQ", data)
        found.append(status)
        data = data[16 + size:]
    return found


MALFORMED, TOO_LARGE, UNSUPPORTED = 41, 42, 43


def test_malformed_frames(context):
    server = context.server()
    server.strait("table", "create", "users")
    server.strait("put", "users", "u1", "Ada")
    # The first frame: too large, of another kind, of another protocol, no protobuf.
    for first, wanted in ((frame(HELLO, size=5000), TOO_LARGE), (frame(HELLO, size=0xFFFFFFFF), TOO_LARGE),
                          (frame(PING), MALFORMED), (hello(9), UNSUPPORTED),
                          (frame(HELLO, b"\xff\xff\xff"), MALFORMED), (os.urandom(64), None)):
        with connect(server) as session:
            session.sendall(first)
            found = statuses(read_all(session))
        expect(len(found) <= 1 and (wanted is None or found == [wanted]), first[:20], found, wanted)
    # After it.
    for sent, wanted in ((frame(COMMIT, size=0xFFFFFFFF), TOO_LARGE), (frame(COMMIT, size=7 << 20), TOO_LARGE),
                         (frame(PING, size=1 << 20), TOO_LARGE), (frame(PING, status=3), MALFORMED),
                         (hello(number=7), MALFORMED)):
        expect_equal(answer_to(server, sent), wanted, sent[:16].hex())
    # What can be passed over is refused alone: the connection goes on.
    for sent in (frame(COMMIT, b"\xff\xff\xff\xff"), frame(COMMIT, b"\x12" * 500), frame(999, b"abc")):
        with connect(server) as session:
            session.sendall(hello() + sent + frame(PING, number=8))
            found = {}
            while len(found) < 3:
                _, status, number, _ = read_frame(session)
                found[number] = status
        expect(found[1] == 0 and found[7] in (MALFORMED, UNSUPPORTED) and found[8] == 0, sent[:16], found)
    server.strait("ping")
    expect_equal(server.strait("get", "users", "u1"), "Ada\n")


def test_slow_and_half_open(context):
    server = context.server()
    server.strait("table", "create", "users")
    # A crowd that says nothing, and some that begin a handshake and stop.
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    for session in silent[:50]:
        session.sendall(b"\x16\x03\x01\x02\x00")
    for session in silent[50:60]:
        session.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    # One that comes a byte at a time is served.
    with connect(server) as slow:
        for byte in hello() + frame(PING):
            slow.sendall(bytes([byte]))
            time.sleep(0.005)
        expect_equal([read_frame(slow)[0], read_frame(slow)[0]], [HELLO | REPLY, PING | REPLY])
    # One that goes away in the middle of a frame.
    with connect(server) as cut:
        cut.sendall(hello() + frame(COMMIT, b"abc", size=100))
    begun = time.monotonic()
    server.strait("put", "users", "u1", "Ada", "--timeout", "2s")
    expect(time.monotonic() - begun < 2, "the crowd is in the way")
    # One that asks and never reads: it is bounded, and others are served.
    server.strait("put", "users", "big", "-", stdin=b"x" * (1 << 20))
    get = b"\x0a\x0e" + b"\x0a\x05users" + b"\x12\x03big"
    deaf = connect(server)
    deaf.settimeout(0.5)
    sent = 0
    try:
        deaf.sendall(hello())
        for number in range(5000):
            deaf.sendall(frame(4, get, number=number))
            sent += 1
    except (socket.timeout, ssl.SSLError, OSError):
        pass
    expect_equal(server.strait("get", "users", "u1", "--timeout", "2s"), "Ada\n")
    with open("/proc/%d/status" % server.process.pid, encoding="ascii") as file:
        size = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    expect(size < 700 * 1024, "the server holds", size, "KiB after", sent, "requests of one who never reads")
    deaf.close()
    # Within the limit of a handshake the crowd is gone.
    for session in silent:
        session.settimeout(15)
        while True:
            try:
                if not session.recv(4096):
                    break
            except ConnectionResetError:
                break
        session.close()
    expect_equal(server.json("get", "users", "u1")["value"], "Ada")
    server.stop()


if __name__ == "__main__":
    main(globals())
