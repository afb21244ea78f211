#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Every `unsafe` of our Rust has its comment.

usage: check-unsafe.py TOP

An unsafe block or impl needs a `SAFETY:` comment above it, an unsafe function
or trait a `# Safety` section in its documentation. Printed is what lacks one.
"""

import pathlib
import re
import sys

# How many lines above an `unsafe` its comment may begin.
REACH = 25
DIRECTORIES = ["drivers", "rust", "samples", "tools/qda"]
STATEMENT_END = re.compile(r"[;{}]\s*(//.*)?$")


def code(line):
    """A line without comment and without what stands in quotes."""
    line = re.sub(r'"(?:\\.|[^"\\])*"', '""', line)
    return line.split("//")[0]


def commented(lines, number, want):
    """Whether the comment or the statement above line `number` has the word."""
    statement = True
    for above in range(number - 1, max(-1, number - REACH), -1):
        text = lines[above].strip()
        if text.startswith("//") or text.startswith("#["):
            statement = False
            if want in text:
                return True
        elif not statement or STATEMENT_END.search(code(lines[above]).rstrip()):
            # Code that ends something: what stands above is not about this.
            return False
    return False


def check(path):
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        for match in re.finditer(r"\bunsafe\b\s*(\{|impl|fn|trait|extern)?", code(line)):
            kind = match[1] or ""
            if kind in ("", "extern") or (kind == "fn" and is_type(code(line), match.start())):
                continue
            want = "# Safety" if kind in ("fn", "trait") else "SAFETY:"
            if f"// {want}" in line or commented(lines, number, want):
                continue
            # What a method of a trait asks of its callers is said at the trait; a callback may
            # be explained by a SAFETY comment.
            if kind == "fn" and (of_trait(lines, number) or commented(lines, number, "SAFETY:")):
                continue
            yield f"{path}:{number + 1}: {line.strip()}"


def of_trait(lines, number):
    """Whether the function at line `number` is in an implementation of a trait."""
    indent = len(lines[number]) - len(lines[number].lstrip())
    for above in range(number - 1, -1, -1):
        line = lines[above]
        if line.strip() and len(line) - len(line.lstrip()) < indent:
            header = " ".join(code(text).strip() for text in lines[max(0, above - 8):above + 1])
            return re.search(r"\bimpl\b[^{}]*\bfor\b[^{}]*\{$", header) is not None
    return False


def is_type(line, start):
    """`unsafe fn` as a type, as in `f: unsafe fn(...)`."""
    return re.search(r"[:(<,=&]\s*$", line[:start]) is not None or "as unsafe" in line


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    top = pathlib.Path(sys.argv[1])
    found = [line for directory in DIRECTORIES
             for path in sorted((top / directory).rglob("*.rs")) if "target" not in path.parts
             for line in check(path)]
    print("\n".join(found), end="\n" if found else "")
    sys.exit(1 if found else 0)


main()
