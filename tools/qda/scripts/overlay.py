#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Puts the project's files and patches into the kernel tree.

usage: overlay.py TOP TREE BUILD

Files below the in-tree directories of TOP are copied to the same place in
TREE, and patches/*.patch are applied in the order of their names. Only files
whose content changes are written, so that make rebuilds no more than it must.
The original of every file that the kernel has and that is changed is kept in
BUILD/pristine; BUILD/overlay.json lists what is managed: a file that is no
longer in the overlay or in a patch gets its original back, or goes.

Prints a digest of what was put into the tree for the kernel's build.
"""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

DIRECTORIES = [
    "Documentation",
    "drivers",
    "include",
    "rust",
    "samples",
    "tools/testing/selftests",
]
# What the kernel's build does not look at.
NOT_BUILT = ("Documentation/", "samples/", "tools/")
# What editors and builds leave behind is no part of the overlay.
SKIPPED = (".o", ".ko", ".mod", ".a", ".d", ".cmd", ".orig", ".rej", ".swp", ".rmeta", "~")


def die(message, *more):
    sys.exit("\n       ".join([f"error: {message}", *more]))


def is_binary(path):
    """Programs that a build of the selftests left in the directory."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def overlay_files(top):
    """The project's own files: path in the tree -> content."""
    files = {}
    for directory in DIRECTORIES:
        for path in sorted((top / directory).rglob("*")):
            if path.is_file() and not path.name.endswith(SKIPPED) and not is_binary(path):
                files[str(path.relative_to(top))] = path.read_bytes()
    return files


def patched_paths(patch):
    """The paths that a patch touches, with whether the patch makes the file."""
    paths, old = {}, None
    for line in patch.read_text().splitlines():
        if line.startswith("--- "):
            old = line[4:].split("\t")[0].strip()
        elif line.startswith("+++ ") and old is not None:
            new = line[4:].split("\t")[0].strip()
            path = old if new == "/dev/null" else new
            paths[path.split("/", 1)[1]] = old == "/dev/null"
            old = None
    if not paths:
        die(f"{patch.name} is not a patch")
    return paths


class Tree:
    """The kernel tree with what is known about its original state."""

    def __init__(self, tree, build):
        self.tree = tree
        self.pristine = build / "pristine"
        self.list = build / "overlay.json"
        self.managed = json.loads(self.list.read_text()) if self.list.exists() else {}

    def original(self, path):
        """The kernel's own content of a file, None if it has no such file."""
        if self.managed.get(path) == "new":
            return None
        for place in [self.pristine / path, self.tree / path]:
            if place.is_file():
                return place.read_bytes()
        return None

    def manage(self, path):
        """Keeps the original before the first change."""
        if path in self.managed:
            return
        if (self.tree / path).is_file():
            keep = self.pristine / path
            keep.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.tree / path, keep)
            self.managed[path] = "changed"
        else:
            self.managed[path] = "new"
        self.save()

    def save(self):
        self.list.write_text(json.dumps(self.managed, indent=1, sort_keys=True))

    def write(self, path, content):
        target = self.tree / path
        if content is None:
            if target.exists():
                target.unlink()
                return True
            return False
        if target.is_file() and target.read_bytes() == content:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return True


def apply_patches(top, tree, files):
    """Adds the content of patched files to `files`."""
    patches = sorted((top / "patches").glob("*.patch"))
    touched = {patch: patched_paths(patch) for patch in patches}
    with tempfile.TemporaryDirectory(prefix="overlay-") as scratch:
        scratch = pathlib.Path(scratch)
        for paths in touched.values():
            for path in paths:
                if path in files:
                    die(f"{path} is both in the overlay and in a patch")
                content = tree.original(path)
                if content is not None and not (scratch / path).exists():
                    (scratch / path).parent.mkdir(parents=True, exist_ok=True)
                    (scratch / path).write_bytes(content)
        for patch in patches:
            result = subprocess.run(
                ["patch", "-p1", "--batch", "--forward", "--no-backup-if-mismatch", "-i", str(patch)],
                cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if result.returncode:
                die(f"patches/{patch.name} does not apply to this kernel tree:",
                    *result.stdout.splitlines(),
                    "Correct the patch, or use a tree of another 7.3.y (make KDIR=<tree>).")
        for paths in touched.values():
            for path in paths:
                target = scratch / path
                files[path] = target.read_bytes() if target.is_file() else None


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    top, tree, build = (pathlib.Path(arg) for arg in sys.argv[1:])
    tree = Tree(tree, build)
    files = overlay_files(top)
    apply_patches(top, tree, files)

    changed = []
    for path in [p for p in tree.managed if p not in files]:
        if tree.write(path, tree.original(path)):
            changed.append(path)
        (tree.pristine / path).unlink(missing_ok=True)
        del tree.managed[path]
    for path, content in files.items():
        tree.manage(path)
        if tree.write(path, content):
            changed.append(path)
        if content is not None and (top / path).is_file():
            shutil.copymode(top / path, tree.tree / path)
    tree.save()

    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        if path.startswith(NOT_BUILT):
            continue
        digest.update(f"{path}\0{len(content or b'')}\0".encode() + (content or b""))
    if changed:
        shown = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
        print(f"overlay: {len(changed)} files changed ({shown})", file=sys.stderr)
    print(digest.hexdigest())


main()
