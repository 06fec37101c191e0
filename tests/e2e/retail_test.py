# SPDX-License-Identifier: Apache-2.0
"""Real orders: totals to the penny, loading twice, and a kill -9 in the middle."""
import gzip
import json
import os
import subprocess

from harness import DONE, REFUSED, ROOT, SHARED_DATA, STRAIT, expect, expect_equal, main, skip, spawn

REAL = os.path.join(SHARED_DATA, "online_retail_2010_12.csv.gz")
SAMPLE = os.path.join(ROOT, "server", "sample", "orders.csv")
# Computed outside our code; they come with the data.
TOTALS = {"invoices": 1893, "skus": 2783, "customers": 922, "cancellation_invoices": 299,
          "cancellation_lines": 680, "units_sold": 336424, "units_returned": 15722,
          "units_written_off": 4010, "revenue": "681528.61", "lines": 39529, "rejected_lines": 0}

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def real():
    if not os.path.exists(REAL):
        skip("the real orders are not at %s" % REAL)
    return REAL


def expect_totals(summary):
    for name, wanted in TOTALS.items():
        expect_equal(summary[name], wanted, name)


def everything(server):
    """All records of all three tables, versions included."""
    return [server.strait("scan", table, "--limit", "0", "--json") for table in ("orders", "customers", "stock")]


def test_totals_and_a_second_load(context):
    path = real()
    server = context.server()
    first = server.json("load", "retail", path)
    expect_totals(first)
    expect_equal(first["loaded_invoices"], 1893)
    before = everything(server)
    second = server.json("load", "retail", path)
    expect_totals(second)
    expect_equal((second["loaded_invoices"], second["present_invoices"]), (0, 1893))
    expect(before == everything(server), "a second load changed something")
    # Units sold less returned plus written off is what the stock went down by.
    stock = json.loads(before[2])["records"]
    expect_equal(sum(1000000 - int(record["value"]) for record in stock), 336424 - 15722 + 4010)
    expect_equal(len(server.json("index", "scan", "orders", "by_customer", "17850", "--limit", "0")["records"]),
                 sum(1 for line in {row.split(",")[0] for row in gzip.open(path, "rt", encoding="latin-1")
                                    if row.rstrip("\n").split(",")[-2] == "17850"}))
    server.stop()
    server.start()
    expect_totals(server.json("load", "retail", path))


def test_killed_in_the_middle(context):
    path = real()
    server = context.server()
    load = spawn([STRAIT, "load", "retail", path, "--timeout", "2s"], env=server.environment(),
                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        result = server.run("status", "--json")
        expect_equal(result.returncode, DONE)
        if json.loads(result.stdout)["metrics"]["commits_count"] > 300:
            break
        expect(load.poll() is None, "the load ended before it could be interrupted")
    server.kill()
    expect(load.wait(timeout=60) != 0, "the load succeeded without its server")
    server.start()
    summary = server.json("load", "retail", path)
    expect_totals(summary)
    expect(summary["present_invoices"] > 0, "nothing was there from before the kill")


def test_sample(context):
    server = context.server()
    summary = server.json("load", "retail", SAMPLE)
    with open(SAMPLE, encoding="latin-1") as file:
        rows = file.read().splitlines()[1:]
    expect_equal(summary["lines"], len(rows))
    expect_equal(summary["invoices"], len({row.split(",")[0] for row in rows}))
    expect(summary["invoices"] >= 200 and summary["cancellation_invoices"] > 0 and summary["units_written_off"] > 0)
    # The file's Latin-1 comes out as UTF-8.
    expect("\u00a3" in server.strait("scan", "orders", "--limit", "0"), "the pound sign is missing")


def test_bad_lines_and_bad_files(context):
    server = context.server()
    bad = os.path.join(server.data, "bad.csv")
    with open(bad, "w", encoding="utf-8") as file:
        file.write(HEADER)
        file.write("1,A,fine,2,01/12/2010 08:26,2.55,9,Kenya\n")
        file.write("1,A,no quantity,x,01/12/2010 08:26,2.55,9,Kenya\n")
        file.write('1,B,"never closed,1,01/12/2010 08:26,2.55,9,Kenya\n')
        file.write("1,B,fine again,1,01/12/2010 08:26,0.01,9,Kenya\n")
        file.write("C2,B,positive,1,01/12/2010 08:26,0.01,9,Kenya\n")
    summary = server.json("load", "retail", bad)
    expect_equal((summary["lines"], summary["rejected_lines"], summary["revenue"]), (2, 3, "5.11"))
    expect_equal([item["line"] for item in summary["rejected"]], [3, 4, 6])
    other = os.path.join(server.data, "other.csv")
    with open(other, "w", encoding="utf-8") as file:
        file.write("a,b,c\n1,2,3\n")
    version = server.json("status")["version"]
    server.strait("load", "retail", other, status=REFUSED)
    server.strait("load", "retail", "/nonexistent.csv", status=REFUSED)
    result = server.run("load", "retail", server.data)
    expect(result.returncode == REFUSED and b"it is a directory" in result.stderr, result.stderr)
    expect_equal(server.json("status")["version"], version, "a refused file wrote something")


def test_every_rejected_line_is_told(context):
    server = context.server()
    bad = os.path.join(server.data, "many.csv")
    with open(bad, "wb") as file:
        file.write(HEADER.encode())
        file.write(b"1,A,fine,2,01/12/2010 08:26,2.55,9,Kenya\n")
        file.write(b"C2,A,too much,-1000000000,01/12/2010 08:26,1000000,9,Kenya\n")
        file.write(b"3\x9b31m,A,a control,1,01/12/2010 08:26,1,9,Kenya\n")
        file.write(b"4,A,no such day,1,31/02/2010 08:26,1,9,Kenya\n")
        file.write(b"5,A,no number\n" * 10020)
        file.write(b"1,B,the most,1000000000,01/12/2010 08:26,1,9,Kenya\n")
    result = server.run("load", "retail", bad, "--initial-stock", "2000000000", "--json")
    expect_equal(result.returncode, DONE, result.stderr[-2000:])
    summary = json.loads(result.stdout)
    expect_equal((summary["rejected_lines"], len(summary["rejected"]), summary["rejected_more"]), (10023, 10000, 23))
    expect_equal([item["line"] for item in summary["rejected"]], list(range(3, 10003)))
    expect_equal((summary["revenue"], summary["units_sold"]), ("1000000005.10", 1000000002))
    told = result.stderr.decode().splitlines()
    expect_equal(len(told), 10023)
    for line, part in zip(told, ("is more than 1,000,000,000 pounds", "control characters", "no such day", "8 fields")):
        expect(part in line, line)
    expect("line 10025: " in told[-1], told[-1])
    quiet = server.run("load", "retail", bad, "--quiet")
    expect(quiet.returncode == DONE and quiet.stderr == b"", quiet.stderr[-2000:])
    expect(b"  line 3: " in quiet.stdout and b"  and 23 more\n" in quiet.stdout, quiet.stdout[-2000:])


def test_stock_is_never_below_zero(context):
    server = context.server()
    result = server.run("load", "retail", SAMPLE, "--initial-stock", "5", "--json")
    expect_equal(result.returncode, REFUSED)
    summary = json.loads(result.stdout)
    expect(summary["refused_invoices"] > 0)
    for record in server.json("scan", "stock", "--limit", "0")["records"]:
        expect(int(record["value"]) >= 0, record)


if __name__ == "__main__":
    main(globals())
