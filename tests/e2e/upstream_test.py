# SPDX-License-Identifier: Apache-2.0
"""Three regions in a chain: Sydney pulls from Singapore, and Tokyo from Sydney. The primary hears of
Tokyo through Sydney; without Sydney, Tokyo pulls from the primary."""
from harness import expect_equal, main
from region import Region
from regions import Regions, position, status, wait_equal, wait_for, write

REFUSED = 1


class Chain(Regions):
    """One server each."""

    def __init__(self, start):
        super().__init__(1, start=start)
        for region in self.all:
            region.known_names.append("t1")
            for member in region.members.values():
                member.write_config()
        self.tokyo = Region(1, start=False, cluster=self, prefix="t", others=["s1", "y1"],
                            section=["id: 3", "region_name: tokyo",
                                     "standby_of: [%s]" % ", ".join(self.endpoints(self.sydney))])
        self.all += (self.tokyo,)


def follows(region):
    """The address of the server that it pulls from."""
    found = status(region)
    return None if found is None or found["source"] is None else found["source"]["endpoint"]


def server_of(region):
    return next(iter(region.members.values()))


def as_the_primary_knows(primary, name):
    return next(region for region in status(primary)["regions"] if region["name"] == name)


def begin(context):
    chain = context.server(Chain, start=False)
    singapore, sydney, tokyo = chain.all
    singapore.start()
    chain.list_both()
    singapore.strait("region", "add", "tokyo", "--id", "3", "--endpoints", server_of(tokyo).clients,
                     "--upstream", "sydney")
    singapore.strait("table", "create", "t")
    sydney.start()
    tokyo.start()
    write(singapore, "first", 5)
    wait_equal(chain)
    return chain


def test_a_standby_feeds_a_third(context):
    chain = begin(context)
    singapore, sydney, tokyo = chain.all
    expect_equal(follows(tokyo), server_of(sydney).clients)
    expect_equal(follows(sydney), server_of(singapore).clients)

    # What is at the end of the chain is known at its beginning, and waited for.
    def it_is_heard_of():
        return as_the_primary_knows(singapore, "tokyo")["lag_versions"] == 0
    wait_for(it_is_heard_of)
    told = as_the_primary_knows(singapore, "tokyo")
    expect_equal((told["upstream"], told["ready"], told["snapshot"]), ("sydney", True, False))
    expect_equal(as_the_primary_knows(singapore, "sydney")["upstream"], None)
    singapore.strait("put", "t", "far", "away", "--durability", "remote:tokyo")
    expect_equal(tokyo.json("get", "t", "far", "--max-staleness", "60s")["value"], "away")

    def its_age_is_known():
        return status(tokyo)["age_ms"] is not None
    wait_for(its_age_is_known)

    # No ring, and nobody is left pulling from who is gone.
    singapore.strait("region", "set", "sydney", "--upstream", "tokyo", status=REFUSED)
    singapore.strait("region", "set", "tokyo", "--upstream", "nowhere", status=REFUSED)
    singapore.strait("region", "remove", "sydney", status=REFUSED)

    # Without its upstream it pulls from the primary.
    server_of(sydney).kill()
    write(singapore, "without", 5)

    def it_goes_on():
        return position(tokyo) == position(singapore)
    wait_for(it_goes_on)
    expect_equal(follows(tokyo), server_of(singapore).clients)
    server_of(sydney).start()
    wait_equal(chain)


def test_the_end_of_a_chain_outlives_its_beginning(context):
    """That its upstream answers is no word of the primary's."""
    chain = begin(context)
    singapore, sydney, tokyo = chain.all
    server_of(singapore).kill()
    tokyo.strait("region", "promote", "tokyo")
    write(tokyo, "after", 5)

    def the_upstream_follows():
        return position(sydney) == position(tokyo)
    wait_for(the_upstream_follows)
    expect_equal(follows(sydney), server_of(tokyo).clients)
    server_of(singapore).start()
    wait_equal(chain)


def test_the_end_of_a_chain_takes_over(context):
    chain = begin(context)
    singapore, sydney, tokyo = chain.all
    singapore.strait("region", "switchover", "tokyo")
    write(tokyo, "second", 5)
    wait_equal(chain)
    for region in (singapore, sydney):
        expect_equal(follows(region), server_of(tokyo).clients)
    tokyo.strait("region", "switchover", "sydney")
    tokyo_follows = server_of(sydney).clients
    write(sydney, "third", 5)
    wait_equal(chain)
    expect_equal(follows(tokyo), tokyo_follows)

    # A disaster: the end of the chain is told of it by the new primary, whoever it pulls from.
    sydney.strait("region", "set", "tokyo", "--upstream", "singapore")
    wait_equal(chain)
    server_of(sydney).kill()
    singapore.strait("region", "promote", "singapore", "--force")
    write(singapore, "fourth", 5)

    def it_follows_the_new_one():
        return position(tokyo) == position(singapore)
    wait_for(it_follows_the_new_one)
    server_of(sydney).start()
    wait_equal(chain)
    expect_equal(len(singapore.json("scan", "t", "--limit", "0")["records"]), 20)


if __name__ == "__main__":
    main(globals())
