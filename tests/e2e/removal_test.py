# SPDX-License-Identifier: Apache-2.0
"""What time takes away: records past their expiry, and what a dropped table held."""
import time

from harness import ConfiguredServer, expect, expect_equal, main

RECORDS = 3000


def put_script(table, options=""):
    return "".join("put %s k%05d v %s\n" % (table, i, options) for i in range(RECORDS)).encode()


def count(server, table):
    return len(server.strait("scan", table, "--limit", "0", "--keys").split())


def wait_until(condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < until, what)
        time.sleep(0.1)


def test_many_records_that_expire_together_go_together(context):
    server = context.server()
    server.strait("table", "create", "carts")
    server.strait("shell", stdin=put_script("carts", "--ttl 1s"))
    wait_until(lambda: count(server, "carts") == 0, 6, "records outlive their expiry by seconds")
    server.strait("check")


def test_a_dropped_table_is_emptied_soon_and_its_name_is_free_at_once(context):
    server = context.server()
    server.strait("table", "create", "old")
    server.strait("shell", stdin=put_script("old"))
    server.strait("table", "drop", "old")
    server.strait("table", "create", "old")
    server.strait("put", "old", "k00000", "new")
    # While a drop goes on, each tick takes a version; once it is over, none does.
    versions = []

    def rests():
        versions.append(server.json("status")["version"])
        return len(versions) > 10 and versions[-1] - versions[-8] < 3
    wait_until(rests, 6, "the drop goes on")
    expect_equal(server.strait("get", "old", "k00000").strip(), "new")
    expect_equal(count(server, "old"), 1)
    server.strait("check")


def test_a_store_says_that_it_keeps_its_retention(context):
    server = context.server(kind=ConfiguredServer, settings={"limits.outcome_retention": "2m"})
    server.stop()
    expect("outcome_retention_kept" not in server.log())
    server.settings["limits.outcome_retention"] = "1m"
    server.write_config()
    server.start()
    expect("outcome_retention_kept configured_ms=60000 kept_ms=120000" in server.log(), server.log())


if __name__ == "__main__":
    main(globals())
