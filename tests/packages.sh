#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what building (argument `build`) or testing (argument `test`) needs and is missing, and
# checks that it is there. Debian 12 or newer; uses sudo where not root.
set -eu

build="gcc libc6-dev cmake ninja-build pkg-config liburing-dev liblz4-dev libssl-dev libxxhash-dev
libprotobuf-c-dev protobuf-c-compiler libcyaml-dev libyaml-dev libsystemd-dev libjansson-dev
zlib1g-dev libedit-dev libmicrohttpd-dev openssl"
test="check libsubunit-dev clang clang-format clang-tidy libclang-rt-dev e2fsprogs git mount procps
python3 tcpdump xxd"

case "${1:-build}" in
build) wanted=$build ;;
test) wanted="$build $test" ;;
*)
    echo "usage: tests/packages.sh [build|test]" >&2
    exit 2
    ;;
esac

is_installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'
}

missing=""
for package in $wanted; do
    is_installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "These Debian packages (or what stands for them here) are missing:$missing" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "As root, run: apt-get install$missing" >&2
        exit 1
    }
    as_root=sudo
fi
echo "Installing:$missing"
log=$(mktemp)
# shellcheck disable=SC2086
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "apt-get failed; its whole output is in $log" >&2
    exit 1
fi
rm -f "$log"
for package in $missing; do
    is_installed "$package" || {
        echo "apt-get said it installed $package, but it is not there" >&2
        exit 1
    }
done
