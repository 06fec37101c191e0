#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian machine to a server with orders in it.
#
#     sh server/quickstart.sh                installs what is missing, builds, starts a development
#                                            server, loads the sample orders, says what to try
#     sh server/quickstart.sh --input FILE   loads that file (CSV, plain or gzip) instead
#     sh server/quickstart.sh --down         stops what it started
#
# The server keeps its files in build/dev; STRAIT_QUICKSTART_PORT chooses another port than 7411.
set -eu
cd "$(dirname "$0")/.."

data=$PWD/build/dev
pid_file=$data/straitd.pid
log=$data/straitd.log
port=${STRAIT_QUICKSTART_PORT:-7411}
input=server/sample/orders.csv

die() {
    echo "quickstart: $*" >&2
    exit 1
}

# The server that an earlier run started, if it runs.
running_pid() {
    [ -f "$pid_file" ] || return 1
    pid=$(cat "$pid_file")
    [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = straitd ] && echo "$pid"
}

down() {
    if pid=$(running_pid); then
        kill -TERM "$pid"
        # It ends when the connections' replies are out and its tables are written.
        timeout 30 tail --pid="$pid" -f /dev/null ||
            die "straitd (process $pid) does not stop; its log: $log"
        echo "Stopped straitd (process $pid). Its data stays in $data."
    else
        echo "Nothing runs that this script started."
    fi
    rm -f "$pid_file"
}

while [ $# -gt 0 ]; do
    case $1 in
    --down)
        down
        exit 0
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

echo "== Starting a development server on 127.0.0.1:$port"
mkdir -p "$data"
if pid=$(running_pid); then
    echo "It runs already (process $pid)."
else
    : >"$log"
    nohup build/straitd --dev --data "$data" --port "$port" >>"$log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$pid_file"
    # Ready, or ended: whichever its log says first.
    timeout 60 sh -c 'tail -n +1 -f "$1" --pid="$2" | grep -m 1 -q "event=ready"' sh "$log" "$pid" || true
    if ! grep -q "event=ready" "$log"; then
        rm -f "$pid_file"
        tail -n 20 "$log" >&2
        die "straitd did not start; its log is $log"
    fi
fi

export STRAIT_PROFILE="$data/profile"
echo "== Loading $input"
build/strait load retail "$input"

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
