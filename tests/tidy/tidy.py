#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The project's own rules, as a test: layers, each folder's rule, lengths, names, marks.

    python3 tests/tidy/tidy.py          checks the tracked files; prints each breach; exit 1 if any
    python3 tests/tidy/tidy.py --test   checks this checker against files made to break each rule
"""
import os
import re
import subprocess
import sys
import tempfile

TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "README.md", "server", "storage", "replication",
             "client", "proto", "tests", "jepsen"}

# folder -> folders it may include (besides itself). The longest folder that fits a path counts.
LAYERS = {
    "proto/base": [],
    "proto": ["proto/base"],
    "storage/io": ["proto"],
    "storage/seal": ["proto", "storage/io"],
    "storage/wal": ["proto", "storage/io", "storage/seal"],
    "storage/lsm": ["proto", "storage/io", "storage/seal"],
    "replication/raft": ["proto/base"],
    "replication": ["proto", "storage", "replication/raft"],
    "replication/region": ["proto", "storage", "replication"],
    "server/state": ["proto", "storage"],
    "server/net": ["proto", "storage/io", "replication"],
    "server": ["proto", "storage", "replication", "server/state", "server/net"],
    "client": ["proto"],
    "client/cli": ["proto", "client"],
    "client/examples": ["client"],
    "jepsen/check": ["proto/base"],
    "jepsen/relay": ["proto/base"],
}

# folder -> (pattern, why); for code, comments and strings taken out.
FOLDER_RULES = {
    "proto/base": [],
    "storage/seal": [(r"\b(open|openat|read|write|pread|pwrite|fopen|rename|unlink)\s*\(", "storage/io alone makes system calls on files")],
    "storage/wal": [(r"\b(open|openat|read|write|pread|pwrite|fsync|fdatasync|fopen|rename|unlink)\s*\(", "storage/io alone makes system calls on files")],
    "storage/lsm": [(r"\b(open|openat|read|write|pread|pwrite|fsync|fdatasync|fopen|rename|unlink)\s*\(", "storage/io alone makes system calls on files")],
    "server/state": [
        (r"\b(clock_gettime|time|gettimeofday|rand|random|getrandom|RAND_bytes|pthread_\w+|socket)\s*\(", "no clock, random source, thread or socket in the state machine"),
        (r"\b(float|double)\b", "no float in the state machine"),
    ],
    "replication/raft": [(r"\b(clock_gettime|time|rand|random|pthread_\w+|malloc_usable_size)\s*\(", "Raft is pure")],
}

ANYWHERE = [
    (r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|alloca|atoi|atol)\s*\(", "an unbounded or unchecked call"),
    (r"\b(usleep|sleep|nanosleep)\s*\(", "no sleep in place of an event"),
    (r"\bassert\s*\(", "ASSERT stays on in release builds; assert() does not"),
]
MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|for now\b|not implemented|placeholder", re.I)

LINE_MAX, FILE_MAX, FUNCTION_MAX = 100, 900, 75


def folder_of(path, folders):
    best = None
    for folder in folders:
        if path.startswith(folder + "/") and (best is None or len(folder) > len(best)):
            best = folder
    return best


def strip_code(text):
    """Comments and strings out, lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check_includes(path, text, report):
    own = folder_of(path, LAYERS)
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not match:
            continue
        target = match.group(1)
        if target.startswith(".") or "/" not in target:
            report(path, number, "includes by a path that is not from the root: %s" % target)
            continue
        if own is None:
            continue
        theirs = folder_of(target, LAYERS)
        allowed = LAYERS[own]
        fits = theirs == own or any(target.startswith(a + "/") for a in allowed)
        if "proto" in allowed and target == "proto/strait.pb-c.h":
            fits = True
        if not fits:
            report(path, number, "%s may not include %s" % (own, target))
        if target.endswith("_internal.h") and os.path.dirname(target) != os.path.dirname(path):
            report(path, number, "%s is for its own folder only" % target)


def check_own_header_first(path, text, report):
    header = path[:-2] + ".h"
    includes = re.findall(r'^\s*#\s*include\s+[<"]([^">]+)[">]', text, re.M)
    if path.endswith(".c") and os.path.exists(header) and includes and includes[0] != header:
        report(path, 1, "a .c file includes its own header first: %s" % header)


def check_functions(path, text, report):
    begun = None
    for number, line in enumerate(text.split("\n"), 1):
        if line == "{":
            begun = number
        elif line == "}" and begun is not None:
            if number - begun > FUNCTION_MAX:
                report(path, begun, "a function of %d lines; about 70 are enough" % (number - begun))
            begun = None


def check_c_file(path, text, report):
    lines = text.split("\n")
    if "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
        report(path, 1, "the first line is the SPDX line")
    if len(lines) - 1 > FILE_MAX:
        report(path, len(lines), "a file of %d lines" % (len(lines) - 1))
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_MAX:
            report(path, number, "longer than %d columns" % LINE_MAX)
    code = strip_code(text)
    rules = list(ANYWHERE) if not path.startswith("tests/") else []
    rules += FOLDER_RULES.get(folder_of(path, LAYERS) or "", [])
    for number, line in enumerate(code.split("\n"), 1):
        for pattern, why in rules:
            if re.search(pattern, line):
                report(path, number, "%s: %s" % (why, line.strip()))
    check_includes(path, text, report)
    check_own_header_first(path, text, report)
    check_functions(path, code, report)


def check_cycles(graph, report):
    state = {}

    def visit(path, trail):
        state[path] = 1
        for target in graph.get(path, ()):
            if state.get(target) == 1:
                report(path, 1, "a cycle of includes: %s" % " -> ".join(trail + [path, target]))
            elif target not in state:
                visit(target, trail + [path])
        state[path] = 2
    for path in sorted(graph):
        if path not in state:
            visit(path, [])


def check_tree(paths):
    breaches = []

    def report(path, number, what):
        breaches.append("%s:%d: %s" % (path, number, what))
    graph = {}
    for path in paths:
        top = path.split("/")[0]
        if not top.startswith(".") and top not in TOP_LEVEL:
            report(path, 1, "not of the fixed top level")
        if not re.search(r"\.(c|h|proto|sh|py|md|txt)$", path):
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if path != "tests/tidy/tidy.py":
            for number, line in enumerate(text.split("\n"), 1):
                if MARKS.search(line):
                    report(path, number, "a mark of unfinished work: %s" % line.strip())
        if re.search(r"\.[ch]$", path):
            check_c_file(path, text, report)
            graph[path] = [t for t in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M) if t != path]
        elif path.endswith(".sh") and "SPDX-License-Identifier" not in "\n".join(text.split("\n")[:3]):
            report(path, 1, "no SPDX line")
    check_cycles(graph, report)
    return breaches


def self_test():
    """Each rule must find the file made to break it, and a good file must pass."""
    good = "/* SPDX-License-Identifier: Apache-2.0 */\n"
    cases = {
        "storage/io/a.c": (good + '#include "storage/lsm/lsm.h"\n', "may not include"),
        "client/b.c": (good + '#include "server/net/net.h"\n', "may not include"),
        "server/state/c.c": (good + "int x(void)\n{\n    return time(0);\n}\n", "no clock"),
        "proto/d.c": ("int x;\n", "SPDX"),
        "proto/e.c": (good + "/* " + "TO" + "DO: later */\n", "unfinished"),
        "proto/f.c": (good + "void f(void)\n{\n" + "    x();\n" * 80 + "}\n", "a function of"),
        "storage/wal/g.c": (good + "void f(void)\n{\n    fsync(1);\n}\n", "system calls"),
        "extra/h.c": (good, "top level"),
        "proto/i.h": (good + '#include "proto/j.h"\n', None),
        "proto/j.h": (good + '#include "proto/i.h"\n', "cycle"),
        "proto/k.c": (good + '#include "k.h"\n', "not from the root"),
    }
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for path, (text, _) in cases.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        breaches = check_tree(sorted(cases))
        for path, (_, wanted) in cases.items():
            if wanted and not any(wanted in b and (path in b or wanted == "cycle") for b in breaches):
                sys.exit("tidy: the rule behind '%s' did not find %s" % (wanted, path))
        os.makedirs("storage/seal", exist_ok=True)
        with open("storage/seal/fine.c", "w", encoding="utf-8") as file:
            file.write(good + '#include "storage/io/io.h"\n\nint fine(void)\n{\n    return 1;\n}\n')
        if check_tree(["storage/seal/fine.c"]):
            sys.exit("tidy: a good file was refused")
        os.chdir("/")


def main():
    if "--test" in sys.argv[1:]:
        self_test()
        return
    here = os.path.dirname(os.path.abspath(__file__))
    os.chdir(os.path.join(here, "..", ".."))
    paths = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.split()
    breaches = check_tree(paths)
    for breach in breaches:
        print(breach)
    self_test()
    if breaches:
        sys.exit("tidy: %d breaches" % len(breaches))
    print("tidy: %d files, no breach" % len(paths))


if __name__ == "__main__":
    main()
