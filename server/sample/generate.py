#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the sample orders: invented invoices in the form that `strait load retail` reads.

    python3 server/sample/generate.py > server/sample/orders.csv

The same seed gives the same file. It has sales, cancellations, write-offs, invoices that repeat a SKU,
unknown customers, quoted fields, and one description in Latin-1."""
import random
import sys

SEED, INVOICES = 20101201, 260
COLOURS = ["RED", "BLUE", "IVORY", "PINK", "GREEN", "SILVER", "RETROSPOT"]
THINGS = ["TEA TOWEL", "LANTERN", "MUG", "CAKE STAND", "JIGSAW", "DOORMAT", "LUNCH BOX",
          "PHOTO FRAME", "HOT WATER BOTTLE", "BUNTING, 5 METRES", 'CLOCK "ALARM"', "CANDLE"]
COUNTRIES = ["Singapore", "Australia", "Kenya", "Nigeria", "Indonesia", "Viet Nam", "United Kingdom"]


def quoted(text):
    return '"%s"' % text.replace('"', '""') if any(c in text for c in ',"\n') else text


def main():
    draw = random.Random(SEED)
    skus = []
    for number in range(180):
        skus.append(("%05d%s" % (20000 + 37 * number, draw.choice(["", "", "A", "b"])),
                     "%s %s" % (draw.choice(COLOURS), draw.choice(THINGS)),
                     draw.randrange(19, 2500)))
    skus[7] = (skus[7][0], "GIFT CARD \xa310", 1000)
    out = ["InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"]
    sold = []
    for index in range(INVOICES):
        minute = index * 47
        when = "%02d/12/2025 %02d:%02d" % (1 + minute // 600, 8 + minute % 600 // 60, minute % 60)
        customer = "" if draw.random() < 0.1 else str(12000 + draw.randrange(90))
        country = COUNTRIES[int(customer or 0) % len(COUNTRIES)]
        kind = draw.random()
        rows = []
        if kind < 0.12 and sold:
            invoice = "C%d" % (700000 + index)
            for sku, quantity in draw.sample(sold, min(len(sold), draw.randrange(1, 3))):
                rows.append((sku, -draw.randrange(1, quantity + 1), sku[2]))
        elif kind < 0.16:
            invoice, customer = str(700000 + index), ""
            rows.append((draw.choice(skus), -draw.randrange(1, 20), 0))
        else:
            invoice = str(700000 + index)
            for _ in range(draw.randrange(1, 12)):
                sku = draw.choice(skus)
                quantity = draw.choice([1, 1, 2, 3, 6, 12, 24])
                rows.append((sku, quantity, sku[2] if draw.random() > 0.02 else 0))
                sold.append((sku, quantity))
        for sku, quantity, pennies in rows:
            out.append(",".join([invoice, sku[0], quoted(sku[1]), str(quantity), when,
                                 "%d.%02d" % (pennies // 100, pennies % 100), customer, country]))
    sys.stdout.buffer.write(("\n".join(out) + "\n").encode("latin-1"))


main()
