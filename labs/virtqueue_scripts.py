# SPDX-License-Identifier: GPL-2.0
"""Scripts for /lab/ring (labs 8 and 9): what a driver does to a ring, and what must come of it."""
import re

from grader import Mismatch, expect

RAM = 4 << 20
DESC, AVAIL, USED, TABLE = 0x1000, 0x3000, 0x4000, 0x8000  # where the driver of the scripts has its rings, and tables
DATA = 0x10000
NEXT, WRITE, INDIRECT = 1, 2, 4
INDIRECT_DESC, EVENT_IDX = 1 << 28, 1 << 29
ACQUIRE, RELEASE, SEQ_CST = 2, 3, 5


class Script:
    """Lines for /lab/ring; each may come with the line that it must print, and with the reason."""

    def __init__(self):
        self.lines, self.wanted = [], []

    def do(self, line, prints=None, why=""):
        self.lines.append(line)
        if prints is not None:
            self.wanted.append((prints, why or f"what `{line}` of /lab/ring prints"))

    def poke(self, size, gpa, value):
        self.do(f"poke {size} {gpa:#x} {value:#x}")

    def descriptor(self, at, gpa, length, flags=0, following=0):
        self.poke(8, at, gpa)
        self.poke(8, at + 8, length | flags << 32 | following << 48)

    def offer(self, size, index, head):
        """The index-th entry of the available ring, then the index behind it."""
        self.poke(2, AVAIL + 4 + index % size * 2, head)
        self.poke(2, AVAIL + 2, index + 1 & 0xFFFF)

    def play(self, host):
        """Run it; what it printed besides must be looked at by the caller."""
        run = host.run("/lab/ring script", files={"script": "\n".join([*self.lines, ""]).encode()}, events="none")
        said = [line for line in run.output.splitlines() if not re.match("[rw] 0x|fence ", line)]
        for (prints, why), line in zip(self.wanted, said):
            expect(line, prints, why)
        if len(said) != len(self.wanted) + 1 or said[-1] != "done":
            raise Mismatch("the submission's code did not come back" if len(said) <= len(self.wanted) else "too much is printed",
                           "done", said[-1] if said else "nothing")
        return run


def accesses(output):
    """[(what, gpa, size, order)] of each traced line; a fence has neither gpa nor size."""
    return [(what, int(gpa or "0", 0), int(size or 0), int(order)) for what, gpa, size, order in
            re.findall(r"^(r|w|fence)(?: (0x[0-9a-f]+) (\d+))? (-?\d+)$", output, re.M)]


def show(steps):
    names = {AVAIL: "avail flags", AVAIL + 2: "avail index", USED: "used flags", USED + 2: "used index"}
    orders = {-1: "no atomic access", 0: "relaxed", 2: "acquire", 3: "release", 4: "acquire and release", 5: "sequential"}
    return "\n".join(f"{dict(r='read', w='write', fence='fence')[what]} {names.get(gpa, hex(gpa)) if size else ''} "
                     f"({orders.get(order, order)})" for what, gpa, size, order in steps)
