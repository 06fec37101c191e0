# SPDX-License-Identifier: Apache-2.0
"""What is stored and what is sent cannot be read, and what was tampered with is found."""
import csv
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import time

from harness import REFUSED, ROOT, expect, expect_equal, main, skip, spawn

SAMPLE = os.path.join(ROOT, "server", "sample", "orders.csv")


def seeded():
    seed = int(os.environ.get("STRAIT_SEED", random.SystemRandom().randrange(1 << 32)))
    print("seed %d" % seed, flush=True)
    return random.Random(seed)


def descriptions():
    """The texts that are looked for: as they stand in the sample orders, eight letters or more."""
    with open(SAMPLE, encoding="latin-1", newline="") as file:
        found = {row["Description"] for row in csv.DictReader(file)}
    texts = sorted(text for text in found if len(text) >= 8 and re.fullmatch("[A-Z ]+", text))
    expect(len(texts) >= 20, "the sample has too few descriptions")
    return texts


def files_with(folder, texts):
    """The files below a folder that hold any of the texts, by grep -a."""
    found = subprocess.run(["grep", "-a", "-r", "-l", "-F", *(part for text in texts
                                                              for part in ("-e", text)), folder],
                           check=False, capture_output=True, text=True, env={"LC_ALL": "C",
                           "PATH": os.environ["PATH"]})
    # A running server renames files meanwhile.
    trouble = [line for line in found.stderr.splitlines() if "No such file" not in line]
    expect_equal(trouble, [], "grep")
    return sorted(os.path.relpath(path, folder) for path in found.stdout.splitlines())


def test_nothing_readable_on_disk(context):
    texts = descriptions()
    server = context.server()
    with open(server.path("master.key"), encoding="ascii") as file:
        key = file.read().strip()
    server.strait("load", "retail", SAMPLE)
    for moment in ("running", "stopped", "killed"):
        if moment == "stopped":
            server.stop()
        elif moment == "killed":
            server.start()
            server.strait("put", "orders", "again", " ".join(texts))
            server.kill()
        expect_equal(files_with(server.store, texts + [key, "by_customer", "orders"]), [], moment)
    for folder, _, files in os.walk(server.store):
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                expect(bytes.fromhex(key) not in file.read(), "the master key is in", name)
    server.start()
    expect(texts[0] in server.strait("get", "orders", "again"), "it cannot be read back either")


def test_the_same_search_finds_what_is_plain(context):
    texts = descriptions()
    server = context.server(options=("--encryption-off", "--compression-off"))
    expect("encryption_off" in server.log(), "that encryption is off is not in the log")
    expect_equal(server.json("status")["encrypted"], False)
    server.strait("load", "retail", SAMPLE)
    found = files_with(server.store, texts)
    expect(any("wal" in name for name in found), "running: nothing in the log:", found)
    server.kill()
    expect_equal(files_with(server.store, texts), found, "after kill -9")
    server.start()
    server.stop()
    found = files_with(server.store, texts)
    expect(any(name.endswith(".table") for name in found), "stopped: nothing in tables:", found)
    with_text = b"".join(open(server.path("store", name), "rb").read() for name in found)
    for text in texts:
        expect(text.encode("ascii") in with_text, "not found:", text)


# ---- What goes over the network ----

def capture(server, work):
    """What tcpdump sees of the server's port while work() runs: the path of its file."""
    if shutil.which("tcpdump") is None:
        skip("tcpdump is not installed")
    path = server.path("loopback.pcap")
    dump = spawn(["tcpdump", "-i", "lo", "-s", "0", "-U", "--immediate-mode", "-B", "65536",
                  "-Z", "root", "-w", path, "tcp port %d" % server.port],
                 stderr=subprocess.PIPE, text=True)
    said = last = dump.stderr.readline()
    while said and "listening on" not in said:
        last = said
        said = dump.stderr.readline()
    if not said:
        skip("tcpdump may not listen here: " + last.strip())
    work()
    time.sleep(0.3)
    dump.terminate()
    _, said = dump.communicate(timeout=20)
    expect("0 packets dropped by kernel" in said, said)
    return path


def streams(path):
    """The bytes of each direction of each connection of a pcap file of the loopback, in order."""
    with open(path, "rb") as file:
        data = file.read()
    magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", data)
    expect_equal((magic, link), (0xA1B2C3D4, 1), "the form of the capture")
    offset = 24
    pieces = {}
    while offset + 16 <= len(data):
        _, _, size, _ = struct.unpack_from("<IIII", data, offset)
        packet = data[offset + 16:offset + 16 + size]
        offset += 16 + size
        expect_equal(struct.unpack_from(">H", packet, 12)[0], 0x0800, "not IPv4")
        ip = packet[14:14 + struct.unpack_from(">H", packet, 16)[0]]
        tcp = ip[(ip[0] & 15) * 4:]
        source, target, sequence = struct.unpack_from(">HHI", tcp)
        payload = tcp[(tcp[12] >> 4) * 4:]
        if payload:
            pieces.setdefault((source, target), {})[sequence] = payload
    return {ports: b"".join(parts[key] for key in sorted(parts, key=lambda key, first=min(parts):
                                                         (key - first) & 0xFFFFFFFF))
            for ports, parts in pieces.items()}


def is_tls_1_3(hello):
    """Whether a stream begins with a ServerHello that chose TLS 1.3."""
    return hello[0] == 0x16 and hello[5] == 2 and b"\x00\x2b\x00\x02\x03\x04" in hello[:300]


def after_hello(stream):
    """A stream without its first record, the hello, which is in clear."""
    return stream[5 + struct.unpack_from(">H", stream, 3)[0]:]


def test_nothing_readable_on_the_wire(context):
    texts = descriptions()
    marker = b"this line is sent in clear, and so must be in the capture"
    server = context.server()

    def work():
        server.strait("load", "retail", SAMPLE)
        big = " ".join(texts).encode("ascii") * 4000
        server.strait("put", "orders", "big", "-", stdin=big[:1000000])
        server.strait("get", "orders", "big", "--raw")
        server.strait("scan", "orders", "--limit", "0")
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            plain.sendall(marker)
            plain.settimeout(10)
            try:
                while plain.recv(4096):
                    pass
            except ConnectionResetError:
                pass

    path = capture(server, work)
    with open(path, "rb") as file:
        expect_equal(file.read().count(marker), 1, "the capture misses what was sent in clear")
    expect_equal(files_with(server.data, [marker.decode("ascii")]), ["loopback.pcap"])
    found = streams(path)
    sealed = {ports: stream for ports, stream in found.items() if marker not in stream and
              found.get(ports[::-1], b"")[:len(marker)] != marker}
    replies = [stream for (source, _), stream in sealed.items() if source == server.port]
    expect_equal(len(replies), 4, "connections")
    for stream in replies:
        expect(is_tls_1_3(stream), "no handshake of TLS 1.3:", stream[:100].hex())
    size = sum(len(stream) for stream in sealed.values())
    expect(size >= 1 << 20, "only", size, "bytes were captured")
    for stream in sealed.values():
        for text in texts + ["orders", "by_customer"]:
            expect(text.encode("ascii") not in stream, "in clear on the wire:", text)
        # So long a printable run does not come about by chance.
        run = re.search(rb"[ -~]{30,}", after_hello(stream))
        expect(run is None, "readable on the wire:", run)


# ---- Flipped bytes ----

def flip(path, offset, mask):
    with open(path, "r+b") as file:
        file.seek(offset)
        old = file.read(1)
        file.seek(offset)
        file.write(bytes([old[0] ^ mask]))


def names(server, folder, pattern):
    return sorted(os.path.join(folder, name) for name in os.listdir(server.path("store", folder))
                  if re.fullmatch(pattern, name))


def findings(server):
    result = server.run("check", "--json")
    found = json.loads(result.stdout)["findings"]
    expect_equal(result.returncode, REFUSED if found else 0, "strait check's exit status", found)
    return found


def expect_found(server, name, offset, mask=0x10):
    """A flipped byte of a running server's file is found by `strait check`, and named."""
    path = server.path("store", name)
    flip(path, offset, mask)
    found = findings(server)
    flip(path, offset, mask)
    expect(found, "a flipped byte was not found:", name, "offset", offset)
    expect(any(name in finding["file"] for finding in found), "not named:", name, found)


def written_offsets(path, draws, count, lossy=False):
    """Offsets in a segment of the log: of bytes that are not padding, and not of its last batch.
    Damaged, that one cannot be told from a torn write: nothing was written after it. `lossy`: only
    of batches with entries. Those without are written to end a burst; one damaged loses nothing."""
    with open(path, "rb") as file:
        data = file.read()
    begins = [0, 4096]  # the segment's header, then batch after batch, as storage/wal/format.h says
    while data[begins[-1] + 24:begins[-1] + 28] == b"SWB1":
        begins.append(begins[-1] + struct.unpack_from("<I", data, begins[-1] + 64 + 32)[0])
    expect(len(begins) > 2, "no batch in", path)
    used = [offset for begin, end in zip(begins[:-2], begins[1:])
            if begin == 0 or not lossy or data[begin + 64 + 36] > 0  # runs of entries
            for offset in range(begin, end) if data[offset] != 0]
    return draws.sample(used, min(count, len(used)))


def test_check_finds_each_kind_of_file(context):
    draws = seeded()
    server = context.server()
    server.strait("load", "retail", SAMPLE)
    server.stop()
    server.start()
    expect_equal(findings(server), [])
    for number in range(4):
        server.strait("put", "orders", "newest%d" % number, "value")
    tables = names(server, "lsm", r"[0-9]+\.table")
    # Only the newest stays: an earlier one, written as tables, becomes a spare at any time.
    segment = names(server, "wal", r"segment-[0-9]+")[-1]
    copies = names(server, "lsm", r"manifest\.[ab]") + names(server, "wal", r"hard-state\.[ab]")
    copies += ["keys.a", "keys.b"]
    expect(len(tables) >= 2 and len(copies) == 6, tables, copies)
    for name in tables + copies:
        size = os.path.getsize(server.path("store", name))
        for offset in (draws.choice((0, size - 1)), *(draws.randrange(size) for _ in range(2))):
            expect_found(server, name, offset, 1 << draws.randrange(8))
    for offset in written_offsets(server.path("store", segment), draws, 8):
        expect_found(server, segment, offset, 1 << draws.randrange(8))
    expect_equal(findings(server), [], "all bytes are as they were")


def scan_all(server):
    return [server.run("scan", table, "--limit", "0", "--json")
            for table in ("orders", "customers", "stock")]


def test_tampered_tables_are_never_returned(context):
    draws = seeded()
    server = context.server()
    server.strait("load", "retail", SAMPLE)
    good = [result.stdout for result in scan_all(server)]
    server.stop()
    tables = names(server, "lsm", r"[0-9]+\.table")
    largest = max(tables, key=lambda name: os.path.getsize(server.path("store", name)))
    refused = 0
    for _ in range(6):
        path = server.path("store", largest)
        offset = draws.randrange(os.path.getsize(path))
        flip(path, offset, 4)
        server.spawn()
        if server.wait_ready():
            for result, wanted in zip(scan_all(server), good):
                if result.returncode == 0:
                    expect(result.stdout == wanted, "another result than was stored", offset)
                else:
                    expect_equal(result.returncode, REFUSED)
                    expect(b"corrupt" in result.stderr, result.stderr)
                    expect(os.path.basename(largest) in server.log(), "the file is not named")
                    refused += 1
            expect(any(largest in finding["file"] for finding in findings(server)), "not found",
                   offset)
            server.kill()
        else:
            expect(os.path.basename(largest) in server.log(), "the file is not named")
            refused += 1
        flip(path, offset, 4)
    expect(refused > 0, "no read ever met the flipped byte")
    server.start()
    expect(good == [result.stdout for result in scan_all(server)], "not as before")


def test_tampered_log_is_refused(context):
    draws = seeded()
    server = context.server()
    server.strait("load", "retail", SAMPLE)
    server.kill()
    path = server.path("store", names(server, "wal", r"segment-[0-9]+")[-1])
    for offset in written_offsets(path, draws, 5, lossy=True):
        flip(path, offset, 2)
        server.refuses_to_start(os.path.basename(path))
        flip(path, offset, 2)
    server.start()
    expect_equal(server.json("load", "retail", SAMPLE)["present_invoices"], 260)


# ---- Copies of metadata ----

def damage(path, how, draws):
    if how == "flipped":
        flip(path, draws.randrange(os.path.getsize(path)), 1 << draws.randrange(8))
    elif how == "cut":
        os.truncate(path, draws.randrange(os.path.getsize(path)))
    elif how == "empty":
        os.truncate(path, 0)
    else:
        os.unlink(path)


PAIRS = ("keys", "lsm/manifest", "wal/hard-state")


def test_one_bad_copy_is_repaired_and_reported(context):
    draws = seeded()
    server = context.server()
    server.strait("load", "retail", SAMPLE)
    server.stop()
    for how in ("flipped", "flipped", "cut", "empty", "gone"):
        for copy in ("a", "b"):
            for pair in PAIRS:
                damage(server.path("store", "%s.%s" % (pair, copy)), how, draws)
            before = len(server.log())
            server.start()
            said = server.log()[before:]
            for pair in PAIRS:
                if (how, copy, pair) == ("gone", "b", "keys"):
                    continue  # looks like the first write of all, cut short: made good in silence
                expect(re.search(r"event=metadata_repaired file=\S*%s\.%s" % (pair, copy), said),
                       how, "not reported:", pair, copy, said)
            expect_equal(findings(server), [], "after the repair")
            server.kill()
    before = len(server.log())
    server.start()
    expect("metadata_repaired" not in server.log()[before:], "repaired what was whole")
    expect_equal(server.json("load", "retail", SAMPLE)["present_invoices"], 260)


def test_two_bad_copies_are_refused(context):
    draws = seeded()
    server = context.server()
    server.strait("load", "retail", SAMPLE)
    server.stop()
    for pair in PAIRS:
        paths = [server.path("store", "%s.%s" % (pair, copy)) for copy in "ab"]
        kept = [open(path, "rb").read() for path in paths]
        for path in paths:
            damage(path, "flipped", draws)
        server.refuses_to_start(os.path.basename(pair))
        for path, data in zip(paths, kept):
            with open(path, "wb") as file:
                file.write(data)
    server.start()
    expect_equal(server.json("load", "retail", SAMPLE)["present_invoices"], 260)


if __name__ == "__main__":
    main(globals())
