# SPDX-License-Identifier: Apache-2.0
"""The example programs do what their heads say, and the README's commands work."""
import os
import re
import subprocess

from harness import BUILD, DONE, REFUSED, ROOT, USAGE, expect, expect_equal, main, spawn


def example(server, name, *arguments, status=DONE):
    done = subprocess.run([os.path.join(BUILD, "examples", name), *arguments], check=False,
                          capture_output=True, text=True, timeout=60, env=server.environment())
    expect_equal(done.returncode, status, name, *arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_cart(context):
    server = context.server()
    example(server, "cart", "add", "ada", "sku-1", "2")
    example(server, "cart", "add", "ada", "sku-1", "3")
    example(server, "cart", "add", "ada", "sku-2", "1")
    example(server, "cart", "add", "bob", "sku-1", "1")
    shown = example(server, "cart", "show", "ada")
    expect(re.search(r"sku-1\D+5\b", shown) and re.search(r"sku-2\D+1\b", shown), shown)
    example(server, "cart", "add", "ada", "sku-2", "-1")
    expect("sku-2" not in example(server, "cart", "show", "ada"), "what was taken out is there")
    record = server.json("scan", "carts", "--prefix", "ada")["records"][0]
    expect("expires_at" in str(record), "a cart does not expire", record)
    example(server, "cart", "empty", "ada")
    expect("sku" not in example(server, "cart", "show", "ada"), "an empty cart holds something")
    expect("sku-1" in example(server, "cart", "show", "bob"), "another one's cart was emptied")
    # Many at once on one line of a cart: none is lost.
    runs = [spawn([os.path.join(BUILD, "examples", "cart"), "add", "eve", "sku-1", "1"],
                  env=server.environment(), stdout=subprocess.DEVNULL) for _ in range(12)]
    expect_equal([run.wait(timeout=60) for run in runs], [DONE] * 12)
    expect(re.search(r"sku-1\D+12\b", example(server, "cart", "show", "eve")), "a change was lost")
    example(server, "cart", "fly", "ada", status=USAGE)


def test_checkout(context):
    server = context.server()
    example(server, "checkout", "stock", "sku-1", "10")
    example(server, "checkout", "stock", "sku-2", "1")
    example(server, "checkout", "order", "o1", "ada", "sku-1", "3", "sku-2", "1")
    expect("o1" in example(server, "checkout", "orders", "ada"), "the order is not listed")
    said = example(server, "checkout", "order", "o1", "ada", "sku-1", "3", "sku-2", "1")
    expect("before" in said and "nothing was changed" in said, said)
    # Not enough of the second line: nothing of the first is taken.
    said = example(server, "checkout", "order", "o2", "bob", "sku-1", "1", "sku-2", "1",
                   status=REFUSED)
    expect("sku-2" in said, "which SKU ran out is not said:", said)
    expect_equal(example(server, "checkout", "orders", "bob").count("o2"), 0)
    # Twelve buyers of the last seven.
    runs = [spawn([os.path.join(BUILD, "examples", "checkout"), "order", "r%d" % number,
                   "eve", "sku-1", "1"], env=server.environment(),
                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for number in range(12)]
    expect_equal(sorted(run.wait(timeout=60) for run in runs), [DONE] * 7 + [REFUSED] * 5)
    expect_equal(sum(record["value"] == "0" for record in server.json("scan", "shop_stock")["records"]), 2)


def test_readme(context):
    """The commands of "A first look", between the quickstart's two, as they stand."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    commands = [line.strip().split("#")[0].strip() for line in text.splitlines()
                if line.startswith("    build/strait ")]
    first = commands[:commands.index("build/strait shell")]
    expect(len(first) >= 8, "the README's commands were not found", first)
    server = context.server()
    server.strait("load", "retail", os.path.join(ROOT, "server", "sample", "orders.csv"))
    for command in first:
        line = command.replace("build/strait", os.path.join(BUILD, "strait"), 1)
        done = subprocess.run(["sh", "-c", line], check=False, capture_output=True, text=True,
                              timeout=60, env=server.environment())
        expect_equal(done.returncode, DONE, command, done.stdout, done.stderr)
        expect(done.stdout, "nothing was printed by", command)


if __name__ == "__main__":
    main(globals())
