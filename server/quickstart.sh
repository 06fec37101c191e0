#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian machine to a server, or a region of three, with orders in it.
#
#     sh server/quickstart.sh                installs what is missing, builds, starts a development
#                                            server, loads the sample orders, says what to try
#     sh server/quickstart.sh --region       the same with three servers, the members of a region
#     sh server/quickstart.sh --input FILE   loads that file (CSV, plain or gzip) instead
#     sh server/quickstart.sh --down         stops what it started
#
# The servers keep their files in build/dev or build/region; STRAIT_QUICKSTART_PORT chooses another
# port than 7411 (members: 7411, 7421 and 7431, and among themselves the ports after those).
set -eu
cd "$(dirname "$0")/.."

port=${STRAIT_QUICKSTART_PORT:-7411}
input=server/sample/orders.csv
region=

die() {
    echo "quickstart: $*" >&2
    exit 1
}

# The server that an earlier run started, if it runs: its files are in DIR, under NAME.
running_pid() {
    [ -f "$1/$2.pid" ] || return 1
    found=$(cat "$1/$2.pid")
    [ -n "$found" ] || return 1
    # Its number may be another process's by now; and one that was killed, and whose parent has not
    # looked yet (Z), does not run.
    case "$(cat "/proc/$found/stat" 2>/dev/null)" in
    *"(straitd) Z"*) return 1 ;;
    *"(straitd)"*) echo "$found" ;;
    *) return 1 ;;
    esac
}

# stop DIR NAME
stop() {
    if pid=$(running_pid "$1" "$2"); then
        kill -TERM "$pid"
        # It ends when the connections' replies are out and its tables are written.
        timeout 30 tail -s 0.1 --pid="$pid" -f /dev/null ||
            die "straitd (process $pid) does not stop; its log: $1/$2.log"
        echo "Stopped straitd (process $pid). Its data stays in $1."
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
    [ -n "$stopped" ] || echo "Nothing runs that this script started."
}

# start DIR NAME ARGUMENT...: leaves its process in $pid
start() {
    directory=$1
    name=$2
    shift 2
    if pid=$(running_pid "$directory" "$name"); then
        echo "It runs already (process $pid)."
        return
    fi
    log=$directory/$name.log
    : >"$log"
    nohup build/straitd --dev --data "$directory" --port "$port" "$@" >>"$log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$directory/$name.pid"
    # Ready, or ended: whichever its log says first.
    timeout 60 sh -c 'tail -n +1 -f "$1" --pid="$2" | grep -m 1 -q "event=ready"' sh "$log" "$pid" || true
    if ! grep -q "event=ready" "$log"; then
        rm -f "$directory/$name.pid"
        tail -n 20 "$log" >&2
        die "straitd did not start; its log is $log"
    fi
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
    --input)
        [ $# -ge 2 ] || die "--input needs a file"
        input=$2
        shift
        ;;
    --help | -h)
        sed -n '3,12p' "$0" | sed 's/^# \{0,1\}//'
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
