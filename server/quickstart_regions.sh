# SPDX-License-Identifier: Apache-2.0
# What quickstart.sh --regions does, once all is built: Singapore and Sydney, three servers each, on
# loopback, and a witness; with a relay between them that takes 45 ms each way. It loads the orders, cuts the link,
# loses Singapore with what it acknowledged since, promotes Sydney, takes Singapore back, tells what
# was lost and does it again in Sydney, and says how long each step took.

singapore() {
    STRAIT_PROFILE=$data/profile build/strait "$@"
}

sydney() {
    STRAIT_PROFILE=$data/profile-sydney build/strait "$@"
}

port_of() {
    echo $((port + 10 * ($1 - 1)))
}

# Where the relay listens for those members, as a list.
relayed() {
    list=
    for member in "$@"; do
        list=$list${list:+,}127.0.0.1:$(($(port_of "$member") + 2))
    done
    echo "$list"
}

clock_ms() {
    echo $(($(date +%s%N) / 1000000))
}

# took WHAT SINCE
took() {
    echo "$1: $(($(clock_ms) - $2)) ms"
}

# members ARGUMENT... -- N...: starts these members, those that do not run
members() {
    arguments=
    while [ "$1" != -- ]; do
        arguments="$arguments $1"
        shift
    done
    shift
    for member in "$@"; do
        echo "== Starting member n$member on 127.0.0.1:$(port_of "$member")"
        # shellcheck disable=SC2086 # words without blanks
        start "$data" "n$member" --member "$member" $arguments
    done
}

relay() {
    pairs=
    for member in 1 2 3 4 5 6; do
        pairs="$pairs $(relayed "$member")=127.0.0.1:$(port_of "$member")"
    done
    # shellcheck disable=SC2086 # words without blanks
    launch "$data" relay '^ready$' build/strait-relay --delay 45 --control "$data/relay.sock" $pairs
}

# value NAME: of a line of `strait region status` on standard input
value() {
    sed -n "s/^$1 *//p"
}

# Until Singapore and Sydney say the same position; at most a minute.
await_level() {
    turns=0
    until here=$(singapore region status 2>/dev/null | value position) &&
        there=$(sydney region status 2>/dev/null | value position) &&
        [ -n "$here" ] && [ "$here" = "$there" ]; do
        turns=$((turns + 1))
        [ "$turns" -lt 600 ] || die "the regions do not come level: Singapore at $here, Sydney at $there"
        sleep 0.1
    done
    echo "Both are at $here."
}

# Until the member of Singapore that answers has the newest report, whose number is left in $report: a
# member may still be on its way back when the leader is level. At most a minute.
await_report() {
    turns=0
    until report=$(singapore region lost list | awk '$1 ~ /^[0-9]+$/ { last = $1 } END { print last }') &&
        [ -n "$report" ]; do
        turns=$((turns + 1))
        [ "$turns" -lt 600 ] || die "Singapore has no report of what it gave up"
        sleep 0.1
    done
}

primary() {
    sydney region status | value region | grep -q primary && echo sydney || echo singapore
}

list_region() {
    singapore region list | awk -v name="$1" '$1 == name { found = 1 } END { exit !found }' ||
        singapore region add "$1" --id "$2" --endpoints "$3" >/dev/null || die "$1 could not be listed"
}

two_regions() {
    data=$PWD/build/regions
    mkdir -p "$data"
    echo "== Starting the relay between the regions: 45 ms each way"
    relay
    echo "== Starting the witness on 127.0.0.1:$(port_of 7)"
    start "$data" w1 --witness
    members --witnessed -- 1 2 3
    echo "== Making n1, n2 and n3 the region Singapore"
    export STRAIT_PROFILE="$data/profile"
    join n2 "127.0.0.1:$(($(port_of 2) + 1))"
    join n3 "127.0.0.1:$(($(port_of 3) + 1))"
    members --witnessed --standby-of "$(relayed 1 2 3)" -- 4 5 6
    echo "== Making n4, n5 and n6 the region Sydney"
    export STRAIT_PROFILE="$data/profile-sydney"
    join n5 "127.0.0.1:$(($(port_of 5) + 1))"
    join n6 "127.0.0.1:$(($(port_of 6) + 1))"
    if [ "$(primary)" = sydney ]; then
        echo "== Sydney is the primary, as an earlier run left it: switching over"
        await_level
        sydney region switchover singapore
        await_level
    fi
    list_region singapore 1 "$(relayed 1 2 3)"
    list_region sydney 2 "$(relayed 4 5 6)"
    singapore region list

    echo "== Loading $input in Singapore"
    since=$(clock_ms)
    singapore load retail "$input"
    took "Loaded" "$since"
    await_level
    took "Loaded, and all of it in Sydney" "$since"

    echo "== Cutting the link: what Singapore acknowledges now, Sydney does not have"
    build/strait-relay --tell "$data/relay.sock" cut
    for number in 1 2 3; do
        singapore put stock "late-$number" '{"text":"written while the link was cut"}' >/dev/null
    done
    echo "== Losing Singapore: kill -9 of n1, n2 and n3"
    for member in 1 2 3; do
        kill -9 "$(running_pid "$data" "n$member")"
    done
    since=$(clock_ms)
    echo "== Promoting Sydney"
    sydney region promote --explain
    # --force: an operator would look for another ten seconds whether Singapore answers, and wait
    # until its lease is over.
    sydney region promote --force
    sydney put stock drill '{"text":"written in Sydney"}' >/dev/null
    took "From the command to the first write accepted in Sydney" "$since"

    echo "== Bringing Singapore and the link back"
    build/strait-relay --tell "$data/relay.sock" resume
    since=$(clock_ms)
    members --witnessed -- 1 2 3
    await_level
    took "Singapore is back as a standby, and level" "$since"
    singapore region status

    echo "== What was lost: Singapore gave it up when it came back"
    await_report
    singapore region lost list
    singapore region lost show "$report"
    echo "== Doing it again, in Sydney, under the old ids"
    singapore region lost replay "$report"
    for number in 1 2 3; do
        sydney get stock "late-$number" >/dev/null || die "late-$number is neither kept nor done again"
    done
    singapore region lost close "$report"

    echo "== Switching over to Singapore"
    since=$(clock_ms)
    sydney region switchover singapore
    took "The command" "$since"
    await_level
    singapore get stock drill >/dev/null || die "Singapore lacks what was written in Sydney"
    for key in drill late-1 late-2 late-3; do
        singapore del stock "$key" >/dev/null
    done
    singapore region status
    cat <<TXT

Two regions of three straitd run on 127.0.0.1, Singapore on the ports $(port_of 1) to $(port_of 3), Sydney on
$(port_of 4) to $(port_of 6), a witness on $(port_of 7), everything in $data. Try:

  export STRAIT_PROFILE=$data/profile                 Singapore; profile-sydney: Sydney
  build/strait region status
  build/strait region switchover sydney
  STRAIT_PROFILE=$data/profile-witness build/strait witness status
  build/strait put stock 1 x                    sent on to wherever the primary is
  build/strait-relay --tell $data/relay.sock cut      and resume, delay 300, drop
  sh server/quickstart.sh --down                stops all
TXT
}
