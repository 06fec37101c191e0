#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian machine to a server, a region of three, or two regions, with orders in it.
#
#     sh server/quickstart.sh                installs what is missing, builds, starts a development
#                                            server, loads the sample orders, says what to try
#     sh server/quickstart.sh --region       the same with three servers, the members of a region
#     sh server/quickstart.sh --regions      two regions of three, 45 ms apart; loses the first one,
#                                            promotes the second one, takes the first one back
#     sh server/quickstart.sh --input FILE   loads that file (CSV, plain or gzip) instead
#     sh server/quickstart.sh --down         stops what it started
#
# The servers keep their files in build/dev, build/region or build/regions; STRAIT_QUICKSTART_PORT
# chooses another port than 7411 (members: 7411, 7421 and so on, and among themselves the ports after
# those; regions reach each other through a relay, on the ports after these).
set -eu
origin=$PWD
cd "$(dirname "$0")/.."

port=${STRAIT_QUICKSTART_PORT:-7411}
input=server/sample/orders.csv
region=
regions=

die() {
    echo "quickstart: $*" >&2
    exit 1
}

# The process that an earlier run started, if it runs: its files are in DIR, under NAME.
running_pid() {
    [ -f "$1/$2.pid" ] || return 1
    found=$(cat "$1/$2.pid")
    [ -n "$found" ] || return 1
    # Its number may be another process's by now, which knows nothing of these files; and one that was killed, and whose parent has not
    # looked yet (Z), does not run.
    case "$(cat "/proc/$found/stat" 2>/dev/null)" in
    *"(straitd) Z"* | *"(strait-relay) Z"*) return 1 ;;
    *"(straitd)"* | *"(strait-relay)"*) ;;
    *) return 1 ;;
    esac
    tr '\0' ' ' <"/proc/$found/cmdline" | grep -qF "$1" || return 1
    echo "$found"
}

# stop DIR NAME
stop() {
    if pid=$(running_pid "$1" "$2"); then
        kill -TERM "$pid"
        # A server ends when the connections' replies are out and its tables are written.
        timeout 30 tail -s 0.1 --pid="$pid" -f /dev/null ||
            die "$2 (process $pid) does not stop; its log: $1/$2.log"
        case $2 in
        relay) echo "Stopped the relay (process $pid)." ;;
        *) echo "Stopped $2 (process $pid). Its data stays in $1." ;;
        esac
        stopped=yes
    fi
    rm -f "$1/$2.pid"
}

down() {
    stopped=
    stop "$PWD/build/dev" straitd
    for member in 1 2 3; do
        stop "$PWD/build/region" "n$member"
    done
    # The standby first: it has what the primary acknowledged, then.
    for member in 4 5 6 1 2 3; do
        stop "$PWD/build/regions" "n$member"
    done
    stop "$PWD/build/regions" w1
    stop "$PWD/build/regions" relay
    [ -n "$stopped" ] || echo "Nothing runs that this script started."
}

# await_line PID LOG PATTERN: until a line of the log says so, or the process ends. Whether it does.
await_line() {
    timeout 60 sh -c 'tail -n +1 -f "$2" --pid="$1" | grep -m 1 -q "$3"' sh "$1" "$2" "$3" || true
    grep -q "$3" "$2"
}

# launch DIR NAME PATTERN COMMAND...: in the background, unless it runs; leaves its process in $pid.
# PATTERN: what its log says when it is ready.
launch() {
    directory=$1
    name=$2
    pattern=$3
    shift 3
    if pid=$(running_pid "$directory" "$name"); then
        echo "It runs already (process $pid)."
        return
    fi
    log=$directory/$name.log
    : >"$log"
    nohup "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$directory/$name.pid"
    if ! await_line "$pid" "$log" "$pattern"; then
        rm -f "$directory/$name.pid"
        tail -n 20 "$log" >&2
        die "$name did not start; its log is $log"
    fi
}

# start DIR NAME ARGUMENT...: a server
start() {
    directory=$1
    name=$2
    shift 2
    launch "$directory" "$name" "event=ready" build/straitd --dev --data "$directory" --port "$port" "$@"
}

# What member NAME is now: voter, learner, or nothing.
kind_of() {
    build/strait member list | awk -v name="$1" '$1 == name { print $2 }'
}

# join NAME PEERS_HOST:PORT: an earlier run may have done any part of it.
join() {
    kind=$(kind_of "$1")
    if [ -z "$kind" ]; then
        build/strait member add "$1" "$2" >/dev/null || die "$1 could not be added"
    fi
    if [ "$kind" != voter ]; then
        build/strait member promote "$1" --wait 60s >/dev/null || die "$1 could not be promoted"
    fi
}

while [ $# -gt 0 ]; do
    case $1 in
    --down)
        down
        exit 0
        ;;
    --region)
        region=yes
        ;;
    --regions)
        regions=yes
        ;;
    --input)
        [ $# -ge 2 ] || die "--input needs a file"
        case $2 in
        /*) input=$2 ;;
        *) input=$origin/$2 ;;
        esac
        shift
        ;;
    --help | -h)
        sed -n '3,15p' "$0" | sed 's/^# \{0,1\}//'
        exit 0
        ;;
    *) die "unknown argument $1 (see --help)" ;;
    esac
    shift
done
[ -r "$input" ] || die "$input cannot be read"

echo "== Installing what is missing"
sh tests/packages.sh build

echo "== Building (build/)"
mkdir -p build
if ! { cmake --preset release -DSTRAIT_TESTS=OFF && cmake --build --preset release; } >build/quickstart.log 2>&1; then
    tail -n 30 build/quickstart.log >&2
    die "the build failed; all of its output is in build/quickstart.log"
fi

if [ -n "$regions" ]; then
    . server/quickstart_regions.sh
    two_regions
    exit 0
fi

if [ -n "$region" ]; then
    data=$PWD/build/region
    mkdir -p "$data"
    for member in 1 2 3; do
        echo "== Starting member n$member on 127.0.0.1:$((port + 10 * (member - 1)))"
        start "$data" "n$member" --member "$member"
    done
    export STRAIT_PROFILE="$data/profile"
    echo "== Making them a region"
    join n2 "127.0.0.1:$((port + 11))"
    join n3 "127.0.0.1:$((port + 21))"
    build/strait member list
else
    data=$PWD/build/dev
    mkdir -p "$data"
    echo "== Starting a development server on 127.0.0.1:$port"
    start "$data" straitd
    export STRAIT_PROFILE="$data/profile"
fi

echo "== Loading $input"
build/strait load retail "$input"

if [ -n "$region" ]; then
    cat <<TXT

Three straitd run on 127.0.0.1, on the ports $port, $((port + 10)) and $((port + 20)): TLS 1.3 with certificates on both sides,
also between them, data at rest encrypted, everything in $data. What is
acknowledged is on the disks of two of them at least. Try:

  export STRAIT_PROFILE=$data/profile
  build/strait member list
  build/strait leader transfer n2
  kill -9 \$(cat build/region/n2.pid)           loses the leader, and nothing else
  build/strait get stock 20962
  sh server/quickstart.sh --region             starts it again
  sh server/quickstart.sh --down               stops all
TXT
else
    cat <<TXT

straitd runs on 127.0.0.1:$port (process $pid): TLS 1.3 with certificates on both sides, data at rest
encrypted, everything in $data. Try:

  export STRAIT_PROFILE=$data/profile
  build/strait status
  build/strait scan stock --limit 5
  build/strait index scan orders by_day --limit 3 --keys
  build/strait table create carts
  build/strait put carts c1 '{"sku":"20962"}' --ttl 30m
  build/strait shell
  sh server/quickstart.sh --down                            stops it
TXT
fi
