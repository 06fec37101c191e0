#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every C file is as clang-format makes it.
set -eu
cd "$(dirname "$0")/../.."
git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
