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


def test_histograms(context):
    server = watched(context)
    server.strait("table", "create", "users")
    for i in range(20):
        server.strait("put", "users", "u%d" % i, "x")
        server.strait("get", "users", "u%d" % i)
    eventually(lambda: get(server, "/metrics")[0] == 200)

    def all_are_told():
        lines = dict(line.rsplit(" ", 1) for line in get(server, "/metrics")[1].splitlines()
                     if not line.startswith("#"))
        counts = {}
        for what in ("commit", "read", "wal_flush"):
            name = "strait_%s_duration_seconds" % what
            buckets = [(line.split('le="')[1].split('"')[0], int(value)) for line, value in lines.items()
                       if line.startswith(name + "_bucket{")]
            bounds = [float(bound) for bound, _ in buckets]
            expect_equal(bounds, sorted(bounds), "the bounds of", name)
            expect(len(bounds) > 10 and buckets[-1][0] == "+Inf", "the buckets of", name, buckets)
            values = [value for _, value in buckets]
            expect_equal(values, sorted(values), "the buckets of", name)
            counts[what] = next(int(value) for line, value in lines.items() if line.startswith(name + "_count{"))
            expect_equal(values[-1], counts[what], name)
            total = next(float(value) for line, value in lines.items() if line.startswith(name + "_sum{"))
            expect(0 < total or counts[what] == 0, name, "has a sum of", total)
            expect(total < 60 * max(1, counts[what]), name, "has a sum of", total)
        return counts["commit"] == 21 and counts["read"] == 20 and counts["wal_flush"] >= 21
    eventually(all_are_told)


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
