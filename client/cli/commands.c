/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands. */
#include "client/cli/cli.h"

/* Of all reads that any member may answer. */
#define READS_TEXT                                                                                 \
    "  --at-least POSITION    any member may answer whose state has all up to POSITION, which\n"   \
    "                         `strait put --json` and the like tell of what they wrote\n"          \
    "  --max-staleness TIME   any member may answer whose state is at most that old: 500ms, 10s\n"

/* Of writes. */
#define DURABILITY_TEXT                                                                            \
    "  --durability WHERE     region (the default), or remote[:REGION]: the answer waits until\n"  \
    "                         the standby REGION, or any one, has committed it too\n"              \
    "  --confirm-within TIME  but at most so long (5s; up to 60s); it is done all the same, and\n" \
    "                         said not to be confirmed yet (exit status 0)\n"

const struct command cli_commands[] = {
    {"get", NULL, "TABLE KEY [--raw] [--hex] [--at-least POSITION] [--max-staleness TIME]",
     "prints a record's value",
     "  --raw   the value's bytes as they are, without a newline\n"
     "  --hex   KEY is given in hexadecimal\n" READS_TEXT,
     cli_get},
    {"put", NULL, "TABLE KEY VALUE [--ttl TIME] [--index NAME=KEY]... [--if-absent] [--hex]",
     "writes a record",
     "  VALUE          the value; `-` reads it from standard input\n"
     "  --ttl TIME     the record goes that long after the commit: 90s, 15m, 12h, 30d\n"
     "  --index N=K    an entry in index N under key K; up to 16\n"
     "  --if-absent    only where there is no such record yet\n"
     "  --if-version V only where the record's version is V\n"
     "  --hex          KEY is given in hexadecimal\n" DURABILITY_TEXT,
     cli_put},
    {"del", NULL, "TABLE KEY [--if-exists] [--hex]", "deletes a record",
     "  --if-exists   refused where there is no such record\n"
     "  --hex         KEY is given in hexadecimal\n" DURABILITY_TEXT,
     cli_del},
    {"add", NULL, "TABLE KEY AMOUNT [--min N] [--max N] [--initial N] [--must-exist]",
     "adds to a record that holds a number",
     "  --min N, --max N   refused where the result would leave these bounds\n"
     "  --initial N        stands for a record that does not exist (0)\n"
     "  --must-exist       refused where there is no such record\n" DURABILITY_TEXT,
     cli_add},
    {"scan", NULL, "TABLE [--from KEY] [--to KEY] [--prefix P] [--limit N] [--reverse] [--keys]",
     "prints the records of a range, in order",
     "  --from KEY   begins at KEY          --to KEY   ends before KEY\n"
     "  --prefix P   only keys that begin with P\n"
     "  --limit N    at most N records (100; 0: all)\n"
     "  --reverse    from the end           --keys     without values\n" READS_TEXT
     "With either, each page of a long range may be of a newer state than the one before.\n",
     cli_scan},
    {"table", "create", "TABLE", "makes a table", NULL, cli_table_create},
    {"table", "drop", "TABLE", "drops a table and all its records", NULL, cli_table_drop},
    {"table", "list", "", "lists the tables and their indexes", NULL, cli_table_list},
    {"index", "create", "TABLE INDEX [--unique]", "makes an index of a table", NULL,
     cli_index_create},
    {"index", "drop", "TABLE INDEX", "drops an index", NULL, cli_index_drop},
    {"index", "list", "[TABLE]", "lists indexes", NULL, cli_index_list},
    {"index", "scan", "TABLE INDEX [KEY] [--from KEY] [--to KEY] [--prefix P] [--limit N]",
     "prints the records under an index key, or a range of an index",
     "  KEY          exactly this key of the index; else the options of `strait scan`,\n"
     "               on the index's keys\n",
     cli_index_scan},
    {"txn", "status", "TOKEN [--durability remote[:REGION]] [--confirm-within TIME]",
     "tells what became of a transaction",
     "  --durability remote[:REGION]   and whether a standby has it, waiting for that as `strait\n"
     "                                 put --durability` does\n",
     cli_txn_status},
    {"txn", "list", "", "lists open snapshots: who pins which version", NULL, cli_txn_list},
    {"txn", "cancel", "SNAPSHOT", "ends a snapshot of anybody's", NULL, cli_txn_cancel},
    {"status", NULL, "", "tells how the server is", NULL, cli_status},
    {"ping", NULL, "", "tells whether the server answers, and as whom it knows you", NULL,
     cli_ping},
    {"check", NULL, "[--scrub]", "verifies all that the server has on disk",
     "  --scrub   compares, over all members of the region, what each has on disk of one version\n",
     cli_check},
    {"member", "list", "[--any]", "lists the region's members, as its leader sees them",
     "  --any   as whichever member answers knows them\n", cli_member_list},
    {"member", "add", "NAME PEERS_HOST:PORT", "adds a server to the region, without a vote",
     "The server runs with an empty store and waits; its certificate says NAME. It gets the log\n"
     "first; `strait member promote` gives it a vote.\n",
     cli_member_add},
    {"member", "promote", "NAME [--wait TIME]", "gives a member a vote",
     "  --wait TIME   how long it may take to catch up with the log (not longer than one call)\n",
     cli_member_promote},
    {"member", "remove", "NAME [--force]", "takes a member out of the region for good",
     "  --force   also where too few of the others answer to go on without it\n"
     "Its server needs an empty store to be added again.\n",
     cli_member_remove},
    {"member", "replace", "OLD NEW PEERS_HOST:PORT [--wait TIME]",
     "adds NEW, gives it a vote when it has the log, and removes OLD",
     "  --wait TIME   how long NEW may take to catch up with the log (10m)\n"
     "May be repeated where it was cut short.\n",
     cli_member_replace},
    {"leader", "transfer", "[NAME]", "hands the leadership to a member",
     "Without NAME, to the one that has the most of the log.\n", cli_leader_transfer},
    {"cluster", "upgrade", "", "lets all servers do what their newer program brings, for good",
     "For regions whose configuration says `upgrade_held: true`; else it happens by itself, once "
     "all\n"
     "servers run the newer program. An older one is refused from then on.\n",
     cli_cluster_upgrade},
    {"region", "list", "[--any]", "lists the cluster's regions, and how far behind each is",
     "As the region that is asked knows it; only the primary knows how far each standby is.\n"
     "  --any   as whichever of its servers answers knows it\n",
     cli_region_list},
    {"region", "status", "[--any]", "tells what the region that is asked knows of itself",
     "Its role, position and fence; a standby also whom it follows and how old its data is, the\n"
     "primary how far each standby is.\n"
     "  --any   as whichever of its servers answers knows it\n",
     cli_region_status},
    {"region", "add", "NAME --id N --endpoints HOST:PORT[,HOST:PORT...] [--upstream OTHER] [GUARD]",
     "adds a region to the cluster's list",
     "  --id N           the id that its servers are configured with\n"
     "  --endpoints ...  where its servers take clients (--endpoint says which server is asked)\n"
     "  --upstream OTHER as a standby it pulls from this standby, and from the primary only where\n"
     "                   that does not answer; primary (the default): always from the primary\n"
     "GUARD: what the primary does when this region, as a standby, is too far behind\n"
     "  --guard DOES     alert (the default), slow (delays writers), refuse (refuses writes)\n"
     "  --lag-bytes N    past N bytes of the log\n"
     "  --lag TIME       past a time: 500ms, 10s\n",
     cli_region_add},
    {"region", "set", "NAME [--endpoints HOST:PORT[,HOST:PORT...]] [--upstream OTHER] [GUARD]",
     "changes what is said of a region",
     "What is not given stays. --lag-bytes 0 and --lag 0s lift a bound; the options are those of\n"
     "`strait region add`. Asked of the primary.\n",
     cli_region_set},
    {"region", "remove", "NAME [--force]", "takes a region out of the cluster",
     "Where there is a witness, it is told first, so that it grants NAME nothing any more.\n"
     "  --force   also where it cannot be told: NAME, if it is cut off, may then be promoted by\n"
     "            the witness's grant. Stop its servers first.\n",
     cli_region_remove},
    {"region", "switchover", "TO [--timeout TIME]",
     "makes the standby TO the primary, without loss",
     "Commits wait while TO catches up, for at most --timeout (5s): where it does not, or could\n"
     "not take over, all stays as it was. May be repeated.\n",
     cli_region_switchover},
    {"region", "promote", "[NAME] [--explain] [--force]",
     "after a disaster: makes the standby that is asked the primary",
     "Asked of the standby: --endpoint with its servers. What the primary acknowledged and has\n"
     "not come here is given up; how much that is, as far as it is known, is printed first.\n"
     "  NAME        refused unless the region that is asked is called so\n"
     "  --explain   says what would be given up, and does nothing\n"
     "  --force     although the primary was heard within the last 10 s; `strait region\n"
     "              switchover` loses nothing then; and, where there is a witness, without its\n"
     "              grant: the old primary may acknowledge until its lease is over, and this\n"
     "              region does without one until it gets it. So does one that is the primary\n"
     "              already: make sure that no other was promoted\n"
     "May be repeated.\n",
     cli_region_promote},
    {"region", "lost", "list | show N | export N FILE | replay N | close N",
     "what the region that is asked gave up when it came back as a standby",
     "  list             lists the reports by their numbers\n"
     "  show N [--values] [--limit COUNT]\n"
     "                   prints a report's transactions (100; 0: all), each lost, redone (the\n"
     "                   primary has it), refused (at its time: nothing is lost), or unknown; "
     "what\n"
     "                   it wrote, with --values also the values\n"
     "  export N FILE    saves all of it, with values, one JSON document a line, in a new file "
     "that\n"
     "                   only you can read\n"
     "  replay N [--txn TOKEN[,TOKEN...]]\n"
     "                   offers each, or those named, to the primary under its old id: what is "
     "there\n"
     "                   already is not done twice; may be repeated\n"
     "  close N          gives the report up for good\n"
     "Asked of the region that has the report: --endpoint with its servers.\n",
     cli_region_lost},
    {"witness", "status", "", "tells how the witness between regions stands",
     "The highest epoch that it knows, who holds its grant, and what each region asked last.\n"
     "Asked of the witness: --endpoint with its address.\n",
     cli_witness_status},
    {"load", "retail", "FILE [--initial-stock N]", "loads real orders, one transaction an invoice",
     "  FILE   CSV, plain or gzip, with the columns InvoiceNo, StockCode, Description, Quantity,\n"
     "         InvoiceDate, UnitPrice, CustomerID, Country\n"
     "  --initial-stock N   units of each SKU before the first invoice that names it (1000000)\n"
     "A line that is not an order's is reported with its number on standard error, and passed\n"
     "over; with --json the first 10,000 are in `rejected`, and `rejected_more` counts the rest;\n"
     "with --quiet they are told at the end.\n"
     "Loading a file again changes nothing; a load that was cut short is completed by the next.\n",
     cli_load_retail},
    {"bench", NULL, "WORKLOAD [--clients N] [--connections N] [--threads N] [--depth N]",
     "drives the server, and prints throughput, latency and processor time",
     "  WORKLOAD         put, get, mixed (4 gets to 1 put), scan (100 records), checkout (an\n"
     "                   order of 1 to 5 lines over a Zipfian catalogue), hot-sku\n"
     "  --clients N      at once (64)         --connections N  they share (one each)\n"
     "  --threads N      that drive them (one for each connection, up to 4; else 1)\n"
     "  --depth N        requests of each client under way at once (1)\n"
     "  --size BYTES     of a value (256)     --keys N         how many different ones (100000)\n"
     "  --seconds N      how long (10)        --seed N         of the draws (1)\n"
     "A connection that has a thread to itself and one request at a time makes synchronous calls;\n"
     "otherwise a thread drives its connections from one event loop.\n"
     "It writes into the tables bench, bench_stock and bench_orders.\n",
     cli_bench},
    {"shell", NULL, "", "takes these commands line by line, with history and completion",
     "Words are split at blanks; '...' and \"...\" hold together. Ctrl-C drops the line that is\n"
     "typed; while a command runs it ends both. Where standard input is no terminal, the first\n"
     "line that fails ends the shell with its exit status.\n",
     cli_shell},
    {0},
};
