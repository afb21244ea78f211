#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes the git series for the kernel from the overlay and patches/.

usage: series.py TOP BUILD [--into TREE --upto N]

By default: BUILD/series/NNNN-*.patch, made in a scratch repository that has
the kernel's files as far as the series changes them. Every file of the overlay
and every patch must have come in by the end; tools/qda/series.conf says which
commit brings what.

With --into, the first N commits are put into a kernel tree instead, for a
build of each. Prints the number of commits.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

MAINTAINERS = "MAINTAINERS"


def die(message, *more):
    sys.exit("\n       ".join([f"error: {message}", *more]))


class Commit:
    def __init__(self, subject):
        self.subject = subject
        self.message = []
        self.steps = []

    def text(self):
        return f"{self.subject}\n\n" + "\n".join(self.message).strip() + "\n"


def read_conf(path):
    commits, given = [], None
    for line in path.read_text().splitlines():
        if given is not None and (line.startswith(" ") or (not line and given.endswith("\n"))):
            given += line[1:] + "\n"
            commits[-1].steps[-1] = ("given", commits[-1].steps[-1][1], given)
            continue
        given = None
        if line.startswith("#"):
            continue
        if line.startswith("= "):
            commits.append(Commit(line[2:].strip()))
        elif not commits:
            if line.strip():
                die(f"{path.name}: '{line}' stands before the first commit")
        elif line.startswith("+ "):
            commits[-1].steps.append(("add", line[2:].strip(), None))
        elif line.startswith("@ "):
            given = ""
            commits[-1].steps.append(("given", line[2:].strip(), ""))
        else:
            commits[-1].message.append(line)
    return commits


def merge_maintainers(tree, entry):
    """Puts the entry into the kernel's list, among those that begin with the same word."""
    lines = (tree / MAINTAINERS).read_text().splitlines(keepends=True)
    title = entry.splitlines()[0]
    word = title.split()[0] + " "
    same = [n for n, line in enumerate(lines) if line.startswith(word) and lines[n + 1][1:3] == ":\t"]
    if not same:
        die(f"the kernel's {MAINTAINERS} has no entry that begins with {word}")
    later = [n for n in same if lines[n].strip() > title]
    place = later[0] if later else lines.index("\n", same[-1]) + 1
    lines.insert(place, entry.rstrip("\n") + "\n\n")
    (tree / MAINTAINERS).write_text("".join(lines))


def write(tree, path, content, mode=0o644):
    target = tree / path
    target.parent.mkdir(parents=True, exist_ok=True)
    # The tree may share its files with another by hard links.
    target.unlink(missing_ok=True)
    target.write_bytes(content)
    target.chmod(mode)


def apply(commit, tree, top, overlay, left):
    """Makes a commit's changes in a tree; `left` loses what came in."""
    for kind, path, content in commit.steps:
        if kind == "given":
            write(tree, path, content.rstrip("\n").encode() + b"\n")
        elif path.startswith("patches/"):
            for file in re.findall(r"^\+\+\+ [^/]+/(\S+)", (top / path).read_text(), re.M):
                if (tree / file).is_file():
                    # As above: patch must not write through a hard link.
                    write(tree, file, (tree / file).read_bytes(), (tree / file).stat().st_mode)
            result = subprocess.run(["patch", "-p1", "--batch", "--forward",
                                     "--no-backup-if-mismatch", "-i", str(top / path)],
                                    cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    text=True)
            if result.returncode:
                die(f"{path} does not apply in '{commit.subject}'", *result.stdout.splitlines())
            left.discard(path)
        elif path == MAINTAINERS:
            merge_maintainers(tree, (top / MAINTAINERS).read_text())
        else:
            found = [p for p in overlay if p == path or p.startswith(path.rstrip("/") + "/")]
            if not found:
                die(f"{path} of '{commit.subject}' is no file of the overlay")
            for file in found:
                source = top / file
                write(tree, file, source.read_bytes(), source.stat().st_mode & 0o777)
                left.discard(file)


def git(tree, *arguments, **more):
    environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
    result = subprocess.run(["git", "-C", str(tree), *arguments], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if result.returncode:
        die(f"git {arguments[0]}: {result.stderr.strip()}")
    return result.stdout.strip()


def setting(top, name):
    result = subprocess.run(["git", "-C", str(top), "config", name], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return result.stdout.strip()


def scratch(build, touched):
    """A repository with the kernel's own version of the files that are changed."""
    tree = build / "series.git"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    for path in touched:
        for place in [build / "pristine" / path, build / "linux" / path]:
            if place.is_file():
                write(tree, path, place.read_bytes(), place.stat().st_mode & 0o777)
                break
    return tree


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("top", type=pathlib.Path)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--into", type=pathlib.Path)
    parser.add_argument("--upto", type=int)
    options = parser.parse_args()
    top, build = options.top.resolve(), options.build.resolve()

    managed = json.loads((build / "overlay.json").read_text())
    overlay = sorted(path for path in managed if (top / path).is_file())
    left = {str(p.relative_to(top)) for p in (top / "patches").glob("*.patch")} | set(overlay)
    commits = read_conf(top / "tools/qda/series.conf")

    if options.into:
        for commit in commits[:options.upto]:
            apply(commit, options.into, top, overlay, left)
        print(len(commits))
        return

    tree = scratch(build, [p for p, how in managed.items() if how == "changed"] + [MAINTAINERS])
    # Only a person with a name can sign off.
    name, mail = setting(top, "user.name"), setting(top, "user.email")
    signoff = ["--signoff"] if name and mail else []
    git(tree, "init", "-q", "-b", "series")
    git(tree, "config", "user.name", name or "nobody")
    git(tree, "config", "user.email", mail or "nobody@localhost")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "Linux")
    for commit in commits:
        apply(commit, tree, top, overlay, left)
        git(tree, "add", "-A")
        git(tree, "commit", "-q", *signoff, "-F", "-", input=commit.text())
    if left:
        die("tools/qda/series.conf has no commit for:", *sorted(left))
    out = build / "series"
    shutil.rmtree(out, ignore_errors=True)
    base = git(tree, "rev-list", "--max-parents=0", "HEAD")
    git(tree, "format-patch", "-q", "-o", str(out), base)
    print(len(commits))


main()
