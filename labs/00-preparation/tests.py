# SPDX-License-Identifier: GPL-2.0
"""Lab 0: the student's look around, and kernel files made here for the launcher to load (--dry-run: nothing runs)."""
import struct

from grader import expect, test

LOOK = "sh /submission/launcher/look.sh"
MIB = 1 << 20
ENTRY = 0xffffffff81000000
NO_PAGING = (1 << 64) - 1
PT_LOAD, PT_NOTE = 1, 4


def note(name, kind, desc, align=4):
    """An ELF note: header and name, then the descriptor, both padded."""
    def pad(data):
        return data + bytes(-len(data) % align)
    return pad(struct.pack("<III", len(name) + 1, len(desc), kind) + name.encode() + b"\0") + pad(desc)


def ringlet_note(entry=ENTRY):
    return note("Ringlet", 1, struct.pack("<QQQ", 1, entry, NO_PAGING))


def kernel(notes, segments=(), align=4):
    """An ELF64 file with a note segment and [(gpa, bytes in the file, bytes in memory)]."""
    data, headers = b"", []
    start = 64 + 56 * (1 + len(segments))
    headers.append(struct.pack("<IIQQQQQQ", PT_NOTE, 4, start, 0, 0, len(notes), len(notes), align))
    data += notes
    for gpa, size, memory in segments:
        headers.append(struct.pack("<IIQQQQQQ", PT_LOAD, 7, start + len(data), gpa, gpa, size, memory, 4096))
        data += b"x" * size
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    return ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ENTRY, 64, 0, 0, 64, 56, len(headers), 0, 0, 0) + b"".join(headers) + data


def load(host, file, megabytes=4):
    return host.run(f"ringlet run -k kernel -m {megabytes} --dry-run", files={"kernel": file})


@test("0.1-release", module=False)
def release(host):
    """The student can reach the host and tell its kernel."""
    expect(host.run(f"{LOOK} release").output.strip(), host.run("uname -r").output.strip(), "what `release` prints")


@test("0.1-entry", module=False)
def entry(host):
    """The student can use the launcher and read what it says."""
    entry = ENTRY + host.random.randrange(1 << 20) * 16
    run = host.run(f"mount -o bind kernel /guest/vmlinux && {LOOK} entry; umount /guest/vmlinux",
                   files={"kernel": kernel(ringlet_note(entry))})
    expect(run.output.strip(), f"{entry:#x}", "what `entry` prints for a kernel that starts there")


@test("0.1-hardware", module=False)
def hardware(host):
    """The student knows where Linux shows what the CPU can do."""
    for flags, answer in ("fpu vme svm avx", "yes"), ("fpu vmx avx", "yes"), ("fpu vme svm_lock", "no"):
        run = host.run(f"mount -o bind cpuinfo /proc/cpuinfo && {LOOK} hardware; umount /proc/cpuinfo",
                       files={"cpuinfo": f"processor\t: 0\nflags\t\t: {flags}\n".encode()})
        expect(run.output.strip(), answer, f"what `hardware` prints for a CPU with the flags {flags}")


@test("0.2-inside", module=False)
def inside(host):
    """memory_at() lets all of the RAM be used: a segment that ends with its last byte is loaded."""
    for size in 1, 4096, host.random.randrange(2, 100000):
        run = load(host, kernel(ringlet_note(), [(4 * MIB - size, size, size)]))
        run.has(f"^kernel starts at gva {ENTRY:#x}$", f"a segment of {size} bytes that ends where memory ends")
    run = load(host, kernel(ringlet_note(), [(4 * MIB, 0, 0)]))
    run.has("^kernel starts", "nothing at all, right behind the memory, is inside")


@test("0.2-outside", module=False)
def outside(host):
    """memory_at() lets nothing outside be touched: not by one byte, not by sums that overflow."""
    big = host.random.randrange(5 * MIB, 1 << 40)
    for gpa, size in ((4 * MIB - 1, 2), (4 * MIB, 1), (big, 1), ((1 << 64) - 4096, 8192), (0x40000, (1 << 64) - 0x40000),
                      ((1 << 64) - 1, 1)):
        run = load(host, kernel(ringlet_note(), [(gpa, 0, size)]))
        run.has("too big for -m", f"{size:#x} bytes at gpa {gpa:#x} are refused")
        expect(run.status, 2, "the launcher's exit status")


@test("0.3-notes", module=False)
def notes(host):
    """Names and descriptors of every length are stepped over as their padding demands."""
    for align in 4, 8:
        others = [note("x" * host.random.randrange(1, 14), host.random.randrange(2, 9), host.random.randbytes(n), align)
                  for n in (0, 1, 3, 4, 5, 8, 13)]
        entry = ENTRY + host.random.randrange(1 << 20) * 16
        ours = note("Ringlet", 1, struct.pack("<QQQ", 1, entry, NO_PAGING), align)
        at = host.random.randrange(1, len(others))
        run = load(host, kernel(b"".join(others[:at]) + ours + b"".join(others[at:]), align=align))
        run.has(f"^kernel starts at gva {entry:#x}$", f"our note behind {at} others, padded to {align} bytes")


@test("0.3-end", module=False)
def end(host):
    """A note whose lengths lead out of the segment ends the search; the launcher does not read what is not there."""
    whole = ringlet_note()
    for cut in 1, 8, 24:
        run = load(host, kernel(whole[:-cut]))
        run.has("not a Ringlet-enabled kernel", f"our note without its last {cut} bytes")
    huge = struct.pack("<III", 8, 0xfffffff0, 1) + b"Ringlet\0"
    run = load(host, kernel(huge))
    run.has("not a Ringlet-enabled kernel", "a note with a descriptor of 4 GiB")
