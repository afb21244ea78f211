#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Takes the examples out of the documentation, so that they are compiled and run.

usage: doc-examples.py <documentation> <programs> <driver> <kernel config> [<output>]

Every block of code in the pages of <documentation> has a language, and what is
done with it goes by that:

    c        has a ":name:", which begins with the driver that it is for,
             "fastrpc-" or "qda-", and is written to <output>/<name>.inc; one of
             the programs docs_*.c in <programs> has a function of that name
             that includes it. <output>/examples.h lists them all, and the
             programs run what it lists.
    sh       has a ":name:", and is written to <output>/<name>.sh, which the
             guest runs.
    rust     stands in a source file of <driver>, word by word.
    kconfig  each line stands in <kernel config>, of the kernel that is tested.

A literal block that has no language must not look like one of these. Pages that
are in no table of contents are errors as well. Without <output> it only checks.
"""

import re
import sys
from pathlib import Path

BLOCK = re.compile(r"^( *)\.\. (code-block|code|sourcecode|parsed-literal)::(.*)$")
LANGUAGES = {"c", "sh", "rust", "kconfig"}
# The end of a line of code, and what no prose and no shell has at the beginning.
LIKE_CODE = re.compile(r"[;{}]$|^(struct|int|static|let|fn|pub|impl|use|#include|CONFIG_)\b", re.M)


class Page:
    """A page, and what is wrong with it."""

    def __init__(self, path):
        self.path = path
        self.lines = path.read_text().splitlines()
        self.problems = []

    def problem(self, number, text):
        self.problems.append(f"{self.path}:{number + 1}: {text}")

    def body(self, start, indent):
        """The indented lines from start on: (number of the first, without indentation)."""
        end = start
        while end < len(self.lines) and (
            not self.lines[end].strip()
            or len(self.lines[end]) - len(self.lines[end].lstrip()) > indent
        ):
            end += 1
        lines = self.lines[start:end]
        while lines and not lines[0].strip():
            lines.pop(0)
            start += 1
        while lines and not lines[-1].strip():
            lines.pop()
        width = min((len(l) - len(l.lstrip()) for l in lines if l.strip()), default=0)
        return start, [line[width:] for line in lines], end

    def blocks(self):
        """All blocks: (line, language, name, first line of the code, code)."""
        found = []
        number = 0
        while number < len(self.lines):
            line = self.lines[number]
            directive = BLOCK.match(line)
            if directive:
                indent, kind, language = directive.groups()
                start, lines, number_after = self.body(number + 1, len(indent))
                options = {}
                while lines and (option := re.match(r":([a-z-]+): *(.*)$", lines[0])):
                    options[option[1]] = option[2]
                    lines.pop(0)
                    start += 1
                while lines and not lines[0].strip():
                    lines.pop(0)
                    start += 1
                if kind != "code-block" or language.strip() not in LANGUAGES:
                    self.problem(number, f"{kind} of language {language.strip()!r}")
                else:
                    found.append((number, language.strip(), options.get("name"), start, lines))
                number = number_after
            elif line.rstrip().endswith("::") and not line.lstrip().startswith(".. "):
                indent = len(line) - len(line.lstrip())
                _, lines, number_after = self.body(number + 1, indent)
                if LIKE_CODE.search("\n".join(lines)):
                    self.problem(number, "code without a language: use code-block")
                number = number_after
            else:
                number += 1
        return found


def included(programs):
    """Which examples the programs include, by name: how often."""
    names = {}
    for path in sorted(programs.glob("docs_*.c")):
        for name in re.findall(r'^#include "([a-z0-9-]+)\.inc"$', path.read_text(), re.M):
            names[name] = names.get(name, 0) + 1
    return names


def in_a_table(pages):
    """Names of the pages that the index lists."""
    index = next((page for page in pages if page.path.name == "index.rst"), None)
    text = "\n".join(index.lines) if index else ""
    listed = re.search(r"^\.\. toctree::\n(?:   :.*\n)*\n((?:   \S+\n?)+)", text, re.M)
    return set(listed[1].split()) if listed else set()


def main():
    docs, programs, driver, config = (Path(arg) for arg in sys.argv[1:5])
    out = Path(sys.argv[5]) if len(sys.argv) > 5 else None
    pages = [Page(path) for path in sorted(docs.glob("*.rst"))]
    driver_text = "\n".join(path.read_text() for path in sorted(driver.rglob("*.rs")))
    options = set(config.read_text().splitlines())
    uses = included(programs)
    listed = in_a_table(pages)
    names = {}

    for page in pages:
        if page.path.stem not in listed | {"index"}:
            page.problem(0, "is in no toctree")
        for number, language, name, start, lines in page.blocks():
            code = "\n".join(lines)
            if language == "rust":
                if code not in driver_text:
                    page.problem(number, "does not stand in the driver so")
                continue
            if not name or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) or name in names:
                page.problem(number, f"no name, or one that is no good: {name}")
                continue
            names[name] = language
            if language == "kconfig":
                for option in lines:
                    if option not in options:
                        page.problem(number, f"the kernel that is tested has no {option}")
            elif language == "c":
                if not name.startswith(("fastrpc-", "qda-")):
                    page.problem(number, f"{name}: for which driver?")
                if uses.get(name) != 1:
                    page.problem(number, f"{name} is run by {uses.get(name, 0)} tests, not 1")
                if out:
                    # Errors of the compiler are to point at the page.
                    text = f'#line {start + 1} "{page.path.name}"\n{code}\n'
                    (out / f"{name}.inc").write_text(text)
            elif out:
                (out / f"{name}.sh").write_text(f"{code}\n")

    problems = [problem for page in pages for problem in page.problems]
    problems += [f"{name}: no such example" for name in sorted(uses) if names.get(name) != "c"]
    if problems:
        sys.exit("\n".join(problems))
    if out:
        lists = ["/* Made by doc-examples.py. */"]
        for prefix in ("fastrpc", "qda"):
            tests = [n.replace("-", "_") for n in names if n.startswith(f"{prefix}-")]
            lists.append(f"#define {prefix.upper()}_EXAMPLES(X) " + " ".join(f"X({n})" for n in tests))
        (out / "examples.h").write_text("\n".join(lists) + "\n")


if __name__ == "__main__":
    main()
