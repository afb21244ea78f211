#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The files of the kernel that are ours, by the list that overlay.py keeps.

usage: patched.py SUFFIX            the files that patches/ changes
       patched.py --new            the files that are ours
       patched.py --warnings LOG    the compiler's warnings in LOG that point at
                                    a file that is ours or that patches/ changes
"""

import json
import os
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("BUILD") or TOP / "build")


def managed():
    return json.loads((BUILD / "overlay.json").read_text())


def changed(suffix):
    return sorted(path for path, how in managed().items()
                  if path.endswith(suffix) and not (TOP / path).exists())


def warnings(log):
    """Blocks of rustc's and lines of clang's warnings at one of our files."""
    ours = managed()
    text = pathlib.Path(log).read_text(errors="replace")
    # rustc: "warning: ..." and, on a line after it, " --> path:line:column".
    for block in re.split(r"\n(?=(?:warning|error)(?:\[|:))", text):
        place = re.search(r"^\s*--> (\S+?):\d+:\d+", block, re.M)
        if block.startswith(("warning", "error")) and place:
            if any(place[1].endswith(path) for path in ours):
                yield block.split("\n\n")[0]
    for line in text.splitlines():
        place = re.match(r"(\S+?):\d+:(?:\d+:)? (?:warning|error):", line)
        if place and any(place[1].endswith(path) for path in ours):
            yield line


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--warnings":
        for warning in warnings(sys.argv[2]):
            print(warning)
    elif sys.argv[1:] == ["--new"]:
        for path in sorted(path for path in managed() if (TOP / path).exists()):
            print(path)
    elif len(sys.argv) == 2:
        for path in changed(sys.argv[1]):
            print(path)
    else:
        sys.exit(__doc__)


main()
