# SPDX-License-Identifier: Apache-2.0
"""Loading again after every outcome has expired: what keeps an order from being put twice is then the
condition that it does not exist. Outcomes are kept for a minute at least, so this waits for it."""
import os
import time

from harness import ROOT, ConfiguredServer, expect, expect_equal, main

SAMPLE = os.path.join(ROOT, "server", "sample", "orders.csv")


def everything(server):
    return [server.strait("scan", table, "--limit", "0", "--json") for table in ("orders", "customers", "stock")]


def test_a_load_after_all_outcomes_expired(context):
    server = context.server(kind=ConfiguredServer, settings={"limits.outcome_retention": "1m"})
    first = server.json("load", "retail", SAMPLE)
    expect_equal(first["loaded_invoices"], first["invoices"])
    before = everything(server)
    expect(server.json("status")["metrics"]["outcomes_count"] >= first["invoices"])
    deadline = time.monotonic() + 150
    while server.json("status")["metrics"]["outcomes_count"] > 10:
        expect(time.monotonic() < deadline, "the outcomes are still there")
        time.sleep(1)
    second = server.json("load", "retail", SAMPLE)
    expect_equal((second["loaded_invoices"], second["present_invoices"]), (0, first["invoices"]))
    expect(before == everything(server), "a load after the outcomes had expired changed something")


if __name__ == "__main__":
    main(globals())
