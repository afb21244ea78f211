#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Documents the driver's crate, to see rustdoc's warnings.

usage: rustdoc-driver.py OUTPUT SOURCE RUSTDOC

The driver's compiler command, which make keeps next to the object, is run with
rustdoc in the compiler's place and without what only a compiler knows.
"""

import pathlib
import re
import shlex
import subprocess
import sys

DROPPED = re.compile(r"^(--emit=|--out-dir|-o$|-Cembed|-Zprint|--crate-type|--json|-Zbinary_dep|--remap-path-scope)")


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    output, source, rustdoc = sys.argv[1:]
    kept = pathlib.Path(output, "drivers/accel/qda/.qda.o.cmd").read_text()
    command = re.search(r"^savedcmd_\S+ := (.*)$", kept, re.M)[1].replace("$(pound)", "#")
    # "OBJTREE=... [RUST_MODFILE=...] rustc flags... file; more commands"
    words = shlex.split(command.split(";")[0])
    start = next(i for i, word in enumerate(words) if re.search(r"(rustc|clippy-driver)$", word))
    environment = [word for word in words[:start] if "=" in word]
    arguments, skip = [], False
    for word in words[start + 1:]:
        if skip:
            skip = False
        elif DROPPED.match(word):
            skip = word in ("--out-dir", "-o", "--crate-type")
        else:
            arguments.append(word)
    result = subprocess.run(
        ["env", "RUSTC_BOOTSTRAP=1", *environment, rustdoc, *arguments, "--document-private-items",
         "-Wrustdoc::all", "-Arustdoc::private_doc_tests",
         "-Arustdoc::private_intra_doc_links", "-Arustdoc::unescaped_backticks",
         "--out-dir", str(pathlib.Path(output, "rustdoc-qda"))],
        cwd=output)
    sys.exit(result.returncode)


main()
