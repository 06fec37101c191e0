#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks with their ratios, each against what the same machine does in the same run.

    python3 tests/bench/run.py             all of them, on a server of its own (about 3 minutes)
    python3 tests/bench/run.py latency     one client's durable put against the device and loopback
    python3 tests/bench/run.py throughput  64 connections against one, quiet and while compaction runs

Needs the release build (sh server/quickstart.sh, or cmake --preset release && cmake --build build).
--json FILE also writes all figures. Exit status 1 where a ratio misses its bound."""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build")
BURST_SECONDS = 8
BURSTS_MAX = 3


class Server:
    """A development server in a folder of its own, on a port of its own."""

    def __init__(self, port):
        self.data = tempfile.mkdtemp(prefix="bench-", dir=BUILD)
        self.log = open(os.path.join(self.data, "straitd.log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "straitd"), "--dev", "--data", self.data, "--port", str(port)],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if "is ready" not in line:
            self.stop()
            sys.exit("straitd did not start; see %s" % self.log.name)
        self.environment = dict(os.environ, STRAIT_PROFILE=os.path.join(self.data, "profile"))

    def strait(self, *arguments):
        result = subprocess.run([os.path.join(BUILD, "strait"), *arguments, "--json"], check=False,
                                capture_output=True, text=True, env=self.environment)
        if result.returncode != 0:
            sys.exit("strait %s: %s" % (" ".join(arguments), result.stderr))
        return json.loads(result.stdout)

    def bench(self, workload, clients, connections, seconds, **more):
        options = [item for name, value in more.items() for item in ("--" + name, str(value))]
        return self.strait("bench", workload, "--clients", str(clients), "--connections",
                           str(connections), "--seconds", str(seconds), *options)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.log.close()
        shutil.rmtree(self.data)


def measure(*arguments):
    return json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def bound(results, name, value, at_least=None, at_most=None):
    good = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    limit = "at least %.2f" % at_least if at_least is not None else "at most %.2f" % at_most
    print("  %-58s %6.2f  (%s)  %s" % (name, value, limit, "ok" if good else "MISSED"))
    results["ratios"][name] = value
    results["missed"] += not good


def latency(server, results, seconds, rounds):
    print("One client, durable put of 256 bytes; %d interleaved rounds of %d s, medians:" % (rounds, seconds))
    device, tls, put = [], [], []
    for _ in range(rounds):
        device.append(measure(os.path.join(BUILD, "bench_device"), server.data, str(seconds))["p50_us"])
        tls.append(measure(os.path.join(BUILD, "bench_tls_echo"), os.path.join(server.data, "server.crt"),
                           os.path.join(server.data, "server.key"), str(seconds))["p50_us"])
        put.append(server.bench("put", 1, 1, seconds)["p50_us"])
    medians = [statistics.median(figures) for figures in (device, tls, put)]
    print("  device write and flush p50 %.1f us, loopback TLS round trip p50 %.1f us, put p50 %.1f us" % tuple(medians))
    bound(results, "put p50 / (device + TLS round trip)", medians[2] / (medians[0] + medians[1]), at_most=2.0)
    results.update(device_p50_us=device, tls_p50_us=tls, put_p50_us=put)


def show(name, figures):
    print("  %-44s %8.0f/s  p50 %8.1f us  p99 %8.1f us  %5.1f puts a flush  cpu %.4f + %.4f s per 1,000" % (
        name, figures["per_second"], figures["p50_us"], figures["p99_us"], figures["operations_per_flush"],
        figures["client_cpu_seconds_per_1000"], figures["server_cpu_seconds_per_1000"]))


def throughput(server, results, seconds):
    print("Durable puts of 256 bytes, %d s each:" % seconds)
    one = server.bench("put", 1, 1, seconds)
    show("1 client", one)
    results["one"] = one
    for name, connections in (("64 connections", 64), ("64 clients over one connection", 1)):
        quiet = server.bench("put", 64, connections, seconds)
        show(name, quiet)
        # A burst of large values leaves compaction with work for longer than the measurement.
        # Whether it had is measured: a burst that ended just before a compaction is repeated.
        for _ in range(BURSTS_MAX):
            server.bench("put", 16, 1, BURST_SECONDS, size=65536, keys=8000)
            before = server.strait("status")["metrics"]
            busy = server.bench("put", 64, connections, seconds)
            after = server.strait("status")["metrics"]
            compacted = after["compacted_bytes"] - before["compacted_bytes"]
            # Bytes are counted when a compaction ends, which a long one does after the measurement.
            running = before["compactions_running"] != 0 and after["compactions_running"] != 0
            if compacted > 0 or running:
                break
        show(name + ", compaction busy", busy)
        print("  (compacted meanwhile: %.0f MiB%s)" % (compacted / 2**20, ", and more under way" if running else ""))
        if compacted == 0 and not running:
            sys.exit("compaction was not busy: the figure says nothing")
        bound(results, name + " / 1 client", quiet["per_second"] / one["per_second"], at_least=8.0)
        bound(results, name + ": puts a flush", quiet["operations_per_flush"], at_least=8.0)
        bound(results, name + ": compaction busy / quiet", busy["per_second"] / quiet["per_second"], at_least=0.7)
        results[name] = {"quiet": quiet, "busy": busy, "compacted_bytes": compacted}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="latency, throughput; both by default")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="of the latency comparison")
    parser.add_argument("--port", type=int, default=7499)
    parser.add_argument("--json", metavar="FILE", help="writes all figures there")
    options = parser.parse_args()
    parts = options.parts or ["latency", "throughput"]
    if not set(parts) <= {"latency", "throughput"}:
        parser.error("a part is latency or throughput")
    results = {"ratios": {}, "missed": 0}
    server = Server(options.port)
    try:
        if "latency" in parts:
            latency(server, results, options.seconds, options.rounds)
        if "throughput" in parts:
            throughput(server, results, options.seconds)
    finally:
        server.stop()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)
    sys.exit(1 if results["missed"] else 0)


main()
