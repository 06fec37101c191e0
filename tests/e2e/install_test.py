#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is installed can be used: header, shared and static library, pkg-config file, man page.

Installs into an empty prefix, builds one small program in each way and in C++ too, and runs it.
"""
import os
import shutil
import subprocess
import sys
import tempfile

PROGRAM = r"""
#include <stdio.h>
#include <strait.h>
#include <strait_region.h>

int main(void)
{
    struct strait_error error;
    strait *handle = (strait *)&error;
    strait_options *options = strait_options_new();
    enum strait_status status = strait_open(options, &handle, &error);
    strait_options_free(options);
    printf("%s %s %d\n", strait_version(), strait_status_name(status), handle == NULL);
    return 0;
}
"""


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def visible_symbols(library, dynamic):
    listing = run(["nm", "--defined-only"] + (["-D"] if dynamic else ["-g"]) + [library])
    return [line.split()[-1] for line in listing.splitlines() if len(line.split()) == 3]


def main():
    build = os.environ["STRAIT_BUILD"]
    flags = []
    with open(os.path.join(build, "CMakeCache.txt")) as cache:
        for line in cache:
            if line.startswith("STRAIT_SANITIZE:") and line.split("=", 1)[1].strip():
                flags = ["-fsanitize=" + line.split("=", 1)[1].strip()]
    for tool in ("cmake", "pkg-config", "nm"):
        if shutil.which(tool) is None:
            print(f"{tool} is not here")
            return 77
    with tempfile.TemporaryDirectory() as prefix:
        run(["cmake", "--install", build, "--component", "strait", "--prefix", prefix])
        files = {name: os.path.join(root, name) for root, _, names in os.walk(prefix)
                 for name in names}
        for name in ("strait.h", "strait_region.h", "strait.pc", "libstrait.a", "libstrait.so", "strait.3"):
            if name not in files:
                sys.exit(f"{name} was not installed")
        for name, dynamic in (("libstrait.so", True), ("libstrait.a", False)):
            symbols = visible_symbols(files[name], dynamic)
            strange = [symbol for symbol in symbols if not symbol.startswith("strait_")]
            if not flags and (strange or "strait_open" not in symbols):
                sys.exit(f"{name} shows {strange or 'nothing'}")
        environment = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(files["strait.pc"]))
        plain = run(["pkg-config", "--cflags", "--libs", "strait"], env=environment).split()
        static = run(["pkg-config", "--static", "--cflags", "--libs", "strait"],
                     env=environment).split()
        static = ["-l:libstrait.a" if part == "-lstrait" else part for part in static]
        libraries = os.path.dirname(files["libstrait.so"])
        ways = [("cc", "-xc", plain), ("cc", "-xc", static)]
        if shutil.which("c++") is not None:
            ways.append(("c++", "-xc++", plain))
        for compiler, language, parts in ways:
            program = os.path.join(prefix, "program")
            run([compiler, "-Wall", "-Wextra", "-Werror", language, "-", "-xnone", "-o", program]
                + flags + parts, input=PROGRAM)
            printed = run([program], env=dict(os.environ, LD_LIBRARY_PATH=libraries))
            if printed.split()[1:] != ["INVALID_ARGUMENT", "1"]:
                sys.exit(f"the program printed {printed}")
            linked = run(["ldd", program], env=dict(os.environ, LD_LIBRARY_PATH=libraries))
            if ("libstrait.so.0" in linked) == (parts is static):
                sys.exit(f"the program is linked wrongly:\n{linked}")
    print("the installed library can be used")
    return 0


if __name__ == "__main__":
    sys.exit(main())
