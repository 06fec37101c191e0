#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-tidy with the checks named in .clang-tidy, over our sources, against a build's commands.
#
#     sh tests/tidy/clang_tidy.sh BUILD-DIRECTORY
set -eu
cd "$(dirname "$0")/../.."
git ls-files 'proto/*.c' 'storage/*.c' 'replication/*.c' 'server/*.c' 'client/*.c' |
    xargs -P 2 -n 8 clang-tidy --quiet -p "$1" --warnings-as-errors='*'
