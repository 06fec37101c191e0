# SPDX-License-Identifier: Apache-2.0
"""Few file descriptors: connections are refused before the store lacks any."""
import socket
import subprocess

from harness import STRAIT, ConfiguredServer, expect, expect_equal, main, spawn

FILES = 96


class PoorServer(ConfiguredServer):
    def command(self):
        return ["prlimit", "--nofile=%d:%d" % (FILES, FILES), *super().command()]


def test_connections_leave_the_store_its_files(context):
    server = context.server(kind=PoorServer, settings={"memory.memtable_size": "4MiB"})
    server.strait("table", "create", "t")
    shell = spawn([STRAIT, "shell"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                  env=server.environment())
    idle = []
    try:
        for i in range(40):
            shell.stdin.write(b"put t k%d %s\n" % (i, b"v" * 400000))
            shell.stdin.flush()
            expect(shell.stdout.readline().startswith(b"written"), "put", i, "\n", server.log()[-2000:])
            if i == 0:
                idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2 * FILES)]
    finally:
        for connection in idle:
            connection.close()
    shell.stdin.close()
    expect_equal(shell.wait(timeout=30), 0)
    expect(server.json("status")["metrics"]["flushed_bytes"] > 0, "nothing was flushed")
    expect("files_few" in server.log(), "the limit was not told")
    server.strait("check")


if __name__ == "__main__":
    main(globals())
