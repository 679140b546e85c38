# SPDX-License-Identifier: GPL-2.0
"""Lab 1. /lab/watch.ko is the submission's module with a watch around its world switch (extra/watch.h). The other guests are made
here, a few instructions each: an exception ends them, and the launcher says which one and what was in rax."""
import re
import struct

from grader import Mismatch, expect, test

LARGE = 2 << 20
FREE = 0x30000           # below it stand boot_params and the command line
BLOCK = 0xFFFF800000008000   # of the only vCPU on this host
UD2 = b"\x0f\x0b"


def elf(at, code):
    """A kernel file for the launcher: this code at gpa `at`, where it starts."""
    note = struct.pack("<III8sQQQ", 8, 24, 1, b"Ringlet\0", 1, at, 2**64 - 1)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, at, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    place = 64 + 2 * 56
    return (head + struct.pack("<IIQQQQQQ", 1, 7, place, at, at, len(code), len(code), 1)
            + struct.pack("<IIQQQQQQ", 4, 4, place + len(code), 0, 0, len(note), len(note), 4) + code + note)


def mov(register, value):
    """mov $value, %register; registers by number: rax 0, rcx 1, rdx 2, rbx 3, rsi 6, rdi 7."""
    return bytes([0x48, 0xB8 + register]) + struct.pack("<Q", value)


def load(address):
    """rax = what stands there; the address goes through rbx."""
    return mov(3, address) + b"\x48\x8b\x03"


def store(address, value):
    return mov(3, address) + mov(1, value) + b"\x48\x89\x0b"


def ends(host, code, at=None, memory=3):
    """(vector, error, rax) at the end of a guest."""
    at = at or host.random.randrange(FREE, 0x100000, 16)
    run = host.run(f"ringlet run -k guest -m {memory}", files={"guest": elf(at, code)})
    found = run.has(r"guest killed: vector (\d+), error (0x\w+), rax (0x\w+)", "the guest did not end as guests do")
    return tuple(int(word, 0) for word in found.groups())


def shown(end):
    return f"vector {end[0]}, error {end[1]:#x}" + (f", rax {end[2]:#x}" if end[0] == 6 else "")


@test("1.2-guest")
def pages(host):
    """Each page of the first 2 MiB is one of its own, and there is nothing else."""
    for address in host.random.sample(range(FREE, LARGE - 8, 8), 2):
        value = host.random.getrandbits(64)
        expect(shown(ends(host, store(address, value) + load(address) + UD2, at=FREE - 64)), shown((6, 0, value)),
               f"storing at gva {address:#x} and loading it again")
    for address in LARGE, LARGE + host.random.randrange(8, 1 << 20, 8), 1 << 30, 2**64 - 4096:
        expect(shown(ends(host, load(address) + UD2)), shown((14, 0, 0)), f"loading from gva {address:#x}")
    expect(shown(ends(host, store(LARGE, 1) + UD2)), shown((14, 2, 0)), f"storing at gva {LARGE:#x}")
    # For rdx = 0, 4096, ...: with the code's own page left out, one of two instructions on (rdx).
    loops = [mov(2, 0) + mov(1, 512) + b"\x81\xfa" + struct.pack("<I", 0x100000) + b"\x74\x03" + access
             + b"\x48\x81\xc2" + struct.pack("<I", 4096) + b"\x48\xff\xc9\x75\xe9" for access in (b"\x48\x89\x12", b"\x48\x03\x02")]
    expect(shown(ends(host, loops[0] + mov(0, 0) + loops[1] + UD2, at=0x100000)),
           shown((6, 0, sum(range(0, LARGE, 4096)) - 0x100000)),
           "writing its address to each page, then adding up what stands in them")


@test("1.1-guest")
def rights(host):
    """map_block(): TEXT r x, IDT and TABLES r, TRAP rw, HOST not at all."""
    offset = host.random.randrange(0x100, 0x600, 8)
    cases = []
    for name, page, read, write, run in (("TEXT", 0, 6, 3, None), ("TEXT's second page", 0x1000, 6, 3, None), ("IDT", 0x2000, 6, 3, 0x11),
                                         ("TABLES", 0x3000, 6, 3, 0x11), ("TRAP", 0x4000, 6, 6, 0x11), ("HOST", 0x5000, 0, 2, 0x10),
                                         ("what is behind it", 0x6000, 0, 2, 0x10)):
        at = BLOCK + page + offset
        cases += [(f"reading {name}", load(at), read), (f"writing {name}", store(at, 0xCC), write)]
        if run:
            cases.append((f"running {name}", mov(3, at) + b"\xff\xe3", run))
    for what, code, error in host.random.sample(cases, len(cases)):
        vector, got, _ = ends(host, code + UD2)
        expect(shown((vector, got, 0)), shown((6, 0, 0) if error == 6 else (14, error, 0)), what)


def complaint(run, *kinds):
    """/lab/watch.ko must not have complained of these kinds."""
    for kind in kinds:
        found = re.search(f"watch: {kind}: (.*) is (.*), not (.*)$", run.kernel_log, re.M)
        if found:
            raise Mismatch(found.group(1), found.group(3), found.group(2))
    run.no_warnings()


def watched(host, *kinds):
    """The trips of /lab/watch.ko; whether they have entered the guest."""
    host.check(f"insmod /lab/watch.ko seed={host.random.getrandbits(62) | 1}")
    run = host.run("ringlet run -k /lab/turn -m 2")
    done = run.has(r"watch: (\d+) of 200 trips entered the guest", "the switch was not tried", where="kernel_log")
    complaint(run, *kinds)
    return done.group(1) == "200"


def tables(host, kind):
    """What the page tables look like, without a switch."""
    host.check("insmod /lab/watch.ko")
    run = host.run("ringlet run -k /lab/turn -m 3")
    run.has("watch: page tables looked at", "RUN was not reached", where="kernel_log")
    complaint(run, kind)


@test("1.2-tables", module=False)
def flat(host):
    """flat_init(): gva n is gpa n for n below 2 MiB, the slot is the switcher's, and there is nothing else."""
    tables(host, "flat")


@test("1.1-tables", module=False)
def block(host):
    """map_block(): TEXT r x, IDT and TABLES r, TRAP rw, HOST not at all."""
    tables(host, "block")


@test("1.3-bases", module=False)
def guest_bases(host):
    """The way in loads them, the way out takes them along."""
    watched(host, "guest base")


@test("1.4-bases", module=False)
def host_bases(host):
    """What functions in C rely on: rbx rbp r12 to r15, and thread and per-CPU data."""
    watched(host, "host base", "host register")


@test("1.4-tables", module=False)
def host_tables(host):
    """The host's page tables and descriptor tables, the GDT at its read-only address."""
    watched(host, "host table")


@test("1.4-lives")
def lives(host):
    """The task register, too: its stacks are those of the next process that enters the kernel."""
    count = host.random.randrange(8, 12)
    run = host.run(f"for i in $(seq {count}); do ringlet run -k /lab/turn -m 2; sleep 0.02 & ls /proc > /dev/null; wait; done; "
                   "echo the host goes on")
    run.has("^the host goes on", "the host did not")
    if len(re.findall(r"guest killed: (?:vector 6, error 0x0|exercise 1\.5)", run.output)) != count:
        raise Mismatch(f"{count} guests did not all come back", "vector 6, error 0x0", run.output)
    run.no_warnings()


@test("1.5-registers", module=False)
def registers(host):
    """Each register by itself, in an order of its own on each way."""
    if not watched(host, "guest register"):
        raise Mismatch("exercise 1.5 is not done: see README.md#1.5")


@test("1.5-flags", module=False)
def flags(host):
    """Ring 0 starts with DF, NT and AC clear."""
    if not watched(host, "host flags"):
        raise Mismatch("exercise 1.5 is not done: see README.md#1.5")
