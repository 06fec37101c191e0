# SPDX-License-Identifier: Apache-2.0
"""What machines that watch see over HTTPS."""
import ssl
import time
import urllib.error
import urllib.request

from harness import ConfiguredServer, expect, expect_equal, free_port, main


def get(server, path):
    """(status, text); only certificates of the server's authority are trusted."""
    trusted = ssl.create_default_context(cafile=server.path("ca.crt"))
    try:
        with urllib.request.urlopen("https://%s%s" % (server.http, path), context=trusted, timeout=10) as reply:
            return reply.status, reply.read().decode("utf-8")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8")


def eventually(check, seconds=30):
    until = time.monotonic() + seconds
    while not check():
        expect(time.monotonic() < until, "never:", check)
        time.sleep(0.05)


def watched(context):
    address = "127.0.0.1:%d" % free_port()
    server = context.server(ConfiguredServer, settings={"http.listen": address})
    server.http = address
    return server


def test_metrics_and_readiness(context):
    server = watched(context)
    eventually(lambda: get(server, "/livez") == (200, "live\n"))
    expect_equal(get(server, "/readyz"), (200, "ready\n"))
    expect_equal(get(server, "/readyz?role=leader&lag=0")[0], 200)
    expect_equal(get(server, "/readyz?role=follower")[0], 503)
    expect_equal(get(server, "/readyz?role=king")[0], 503)
    expect_equal(get(server, "/nothing")[0], 404)
    server.strait("table", "create", "users")
    server.strait("put", "users", "u1", "Ada")

    def commits_are_told():
        status, text = get(server, "/metrics")
        expect_equal(status, 200)
        lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        expect(all(name.startswith("strait_") and "{" in name for name in lines), "a strange line in", text)
        return float(next(value for name, value in lines.items() if name.startswith("strait_commits_total"))) == 2
    eventually(commits_are_told)


def test_it_lives_through_a_reload_and_a_restart(context):
    server = watched(context)
    eventually(lambda: get(server, "/livez")[0] == 200)
    server.process.send_signal(1)
    eventually(lambda: "certificates_reloaded" in server.log())
    eventually(lambda: get(server, "/livez")[0] == 200)
    server.stop()
    server.start()
    eventually(lambda: get(server, "/readyz")[0] == 200)


def test_a_port_that_is_taken_is_told(context):
    server = watched(context)
    other = context.server(ConfiguredServer, settings={"http.listen": server.http}, start=False)
    other.refuses_to_start("HTTPS cannot listen on 127.0.0.1")


if __name__ == "__main__":
    main(globals())
