# SPDX-License-Identifier: Apache-2.0
"""Two switchovers in a row under load: no write fails or is lost, and all replicas of both regions end
with the same digest. More of them, with the bound on the pause: tests/bench/switchovers.py."""
from harness import main
from regions import Regions
from switchovers import check, drill


def test_there_and_back(context):
    regions = context.server(Regions, delay_ms=45)
    regions.singapore.strait("table", "create", "paced")
    load, _ = drill(regions, 2, 100)
    load.expect_no_errors()
    check(regions, load)


if __name__ == "__main__":
    main(globals())
