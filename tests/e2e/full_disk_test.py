# SPDX-License-Identifier: Apache-2.0
"""A disk filled to the last block: deletes and starts go on, status says what to free, and when there
is space again all that was acknowledged is there. Needs to mount a file."""
import os
import shutil
import subprocess
import tempfile
import time

from harness import REFUSED, ConfiguredServer, expect, expect_equal, main, skip

IMAGE_MIB = 1200


class Disk:
    """An ext4 file system in a file, mounted by a loop device."""

    def __init__(self, folder):
        self.image = os.path.join(folder, "disk.image")
        self.path = os.path.join(folder, "mnt")
        self.filler = os.path.join(self.path, "somebody-else")
        self.mounted = False
        if shutil.which("mkfs.ext4") is None:
            skip("mkfs.ext4 is not installed")
        os.mkdir(self.path)
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_MIB << 20)
        self.run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", self.image)
        mounted = subprocess.run(["mount", "-o", "loop", self.image, self.path], check=False,
                                 capture_output=True, text=True)
        if mounted.returncode != 0:
            skip("no file can be mounted here: " + mounted.stderr.strip())
        self.mounted = True

    @staticmethod
    def run(*arguments):
        done = subprocess.run(arguments, check=False, capture_output=True, text=True)
        expect_equal(done.returncode, 0, *arguments, done.stderr)

    def free(self):
        about = os.statvfs(self.path)
        return about.f_bavail * about.f_frsize

    def leave(self, size):
        """Another file takes all but this many bytes; 0: down to the last block."""
        with open(self.filler, "ab") as file:
            end = file.tell()
            while self.free() > size:
                step = max(self.free() - size, 4096)
                while True:
                    try:
                        os.posix_fallocate(file.fileno(), end, step)
                        break
                    except OSError:
                        step //= 2
                        if step < 4096:
                            return
                end += step

    def give_back(self):
        os.unlink(self.filler)

    def close(self):
        if self.mounted:
            self.run("umount", self.path)
            self.mounted = False


def wait_for(what, server, condition):
    until = time.monotonic() + 15
    while not condition(server.json("status")):
        expect(time.monotonic() < until, what, server.strait("status"))
        time.sleep(0.1)


def expect_refused(server):
    result = server.run("put", "orders", "new", "value")
    said = result.stderr.decode("utf-8")
    expect_equal(result.returncode, REFUSED, said)
    expect("ree space" in said and server.settings["data"] in said, "what to do is not said:", said)


def full_disk(context, disk):
    server = context.server(kind=ConfiguredServer,
                            settings={"data": os.path.join(disk.path, "store"),
                                      "memory.memtable_size": "4MiB"})
    server.strait("table", "create", "orders")
    value = os.urandom(150000).hex().encode("ascii")
    kept = {}

    def put(key):
        server.strait("put", "orders", key, "-", stdin=value)
        kept[key] = value

    def delete(key):
        server.strait("del", "orders", key)
        del kept[key]

    def check_kept(moment):
        found = {record["key"] for record in server.json("scan", "orders", "--keys", "--limit", "0")
                 ["records"]}
        expect_equal(sorted(found), sorted(kept), moment)

    for number in range(60):
        put("order-%d" % number)
    # Below the reserve, and well above what makes the ballast let go: that is for the last block.
    disk.leave(180 << 20)
    wait_for("the lack of space is not noticed", server, lambda status: not status["writable"])
    alarms = server.json("status")["alarms"]
    expect(any("ree space" in alarm and disk.path in alarm for alarm in alarms), alarms)
    expect_refused(server)
    delete("order-0")
    check_kept("below the reserve")

    disk.leave(0)
    delete("order-1")
    expect_refused(server)
    for number in range(2, 8):
        server.kill()
        server.start()
        delete("order-%d" % number)
        expect_refused(server)
        check_kept("full, after start %d" % number)
    server.stop()
    server.start()
    check_kept("full, after a graceful stop")
    expect_equal(server.json("check")["findings"], [])

    disk.give_back()
    wait_for("the space is not noticed", server, lambda status: status["writable"])
    expect_equal(server.json("status")["alarms"], [])
    for number in range(100, 130):
        put("order-%d" % number)
    check_kept("with space again")
    server.kill()
    server.start()
    check_kept("after another kill")
    expect_equal(server.strait("get", "orders", "order-20", "--raw").encode("ascii"), value)
    expect_equal(server.json("check")["findings"], [])
    server.stop()


def test_full_disk(context):

    folder = tempfile.mkdtemp(prefix="strait-disk-")
    disk = None
    try:
        disk = Disk(folder)
        full_disk(context, disk)
    finally:
        for server in context.servers:
            if server.process is not None and server.process.poll() is None:
                server.kill()
        if disk is not None:
            disk.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(globals())
