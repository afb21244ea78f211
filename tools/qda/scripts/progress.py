#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Runs a long command with its output in a log and shows how far it is.

usage: progress.py LABEL LOG EXPECTED COMMAND...

The number of lines that the command prints is the counter; EXPECTED (0: not
known) is how many there were when it was last measured. On a terminal the
counter moves on one line, elsewhere a line is printed every 20 seconds. When
the command fails, the errors in its log and the log's end are printed.
"""

import os
import subprocess
import sys
import threading
import time

TAIL = 25


def clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class Meter:
    """The line that shows counter and time."""

    def __init__(self, label, expected):
        self.label = label
        self.expected = expected
        self.count = 0
        self.start = time.monotonic()
        self.tty = sys.stdout.isatty()
        self.done = threading.Event()

    def text(self):
        elapsed = time.monotonic() - self.start
        steps = ""
        if self.expected:
            steps = f" {min(self.count, self.expected)} of about {self.expected} steps,"
        elif self.count:
            steps = f" {self.count} steps,"
        return f"{self.label}:{steps} {clock(elapsed)}"

    def run(self):
        while not self.done.wait(0.5 if self.tty else 20):
            if self.tty:
                print(f"\r{self.text()}\033[K", end="", flush=True)
            else:
                print(self.text(), flush=True)

    def finish(self, word):
        self.done.set()
        elapsed = clock(time.monotonic() - self.start)
        start = "\r" if self.tty else ""
        end = "\033[K" if self.tty else ""
        print(f"{start}{self.label}: {word}, {elapsed}{end}", flush=True)


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    label, log, expected, command = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    meter = Meter(label, expected)
    threading.Thread(target=meter.run, daemon=True).start()
    tail, errors = [], []
    os.makedirs(os.path.dirname(os.path.abspath(log)), exist_ok=True)
    with open(log, "w", errors="replace") as out:
        try:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     text=True, errors="replace")
        except OSError as error:
            meter.finish("failed")
            sys.exit(f"error: {command[0]}: {error.strerror}")
        for line in child.stdout:
            meter.count += 1
            out.write(line)
            tail = (tail + [line])[-TAIL:]
            if "error" in line.lower() or "***" in line:
                errors = (errors + [line])[:TAIL]
        status = child.wait()
    if status == 0:
        meter.finish("done")
        return
    meter.finish(f"failed (status {status})")
    for line in [e for e in errors if e not in tail] + tail:
        sys.stderr.write(f"  {line}")
    sys.exit(f"error: {label} failed; the whole output is in {log}")


main()
