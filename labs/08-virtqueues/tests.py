# SPDX-License-Identifier: GPL-2.0
"""Lab 8. The launcher's virtqueue.c is linked into /lab/ring, which plays a driver's part from a script and sees every
access; the guest's half meets made-up devices (/lab/pages) and then our launcher."""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from device_pages import LOAD, NEXT as NEXT_PAGE, VERSION_1, healthy, page, record, visit  # noqa: E402
from grader import Mismatch, expect, test  # noqa: E402
from virtqueue_scripts import (ACQUIRE, AVAIL, DATA, DESC, INDIRECT, INDIRECT_DESC, NEXT, RAM, RELEASE, SEQ_CST,  # noqa: E402
                               TABLE, USED, WRITE, Script, accesses, show)

SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256]


def parts(size):
    """Bytes of the three parts of a queue, the event indexes included."""
    return 16 * size, 4 + 2 * size + 2, 4 + 8 * size + 2


@test("8.1-good", ours="guest")
def good_queues(host):
    """Guards queues of every size anywhere in RAM, also with their last byte at its end."""
    script = Script()
    for size in SIZES:
        for where in range(6):
            gpas = [host.random.randrange(0, RAM - length) // align * align for length, align in zip(parts(size), (16, 2, 4))]
            if where < 3:
                gpas[where] = (RAM - parts(size)[where]) // (16, 2, 4)[where] * (16, 2, 4)[where]
            script.do(f"setup {size} " + " ".join(map(str, gpas)),
                      f"setup 0 size {size} desc {gpas[0]:#x} avail {gpas[1]:#x} used {gpas[2]:#x}", "a queue that is in order")
    script.do("setup 0 1 2 3", "setup 0 size 0", "size 0 takes a queue away")
    script.play(host)


@test("8.1-bad", ours="guest")
def bad_queues(host):
    """Guards size, alignment and bounds of each of the three parts, also where a sum overflows."""
    script = Script()
    good = [0x1000, 0x3000, 0x4000]
    bad = [(size, *good) for size in (3, 24, 255, 257, 512, 1 << 16, 1 << 31, 0xFFFFFFFF)]
    for size in host.random.sample(SIZES, 4):
        for part, (length, align) in enumerate(zip(parts(size), (16, 2, 4))):
            last = (RAM - length) // align * align
            wrong = [last + align, RAM, (1 << 64) - align, (1 << 63) + host.random.randrange(1 << 40) * 16, good[part] + align // 2]
            bad += [(size, *good[:part], gpa, *good[part + 1:]) for gpa in wrong]
    for words in bad:
        script.do("setup " + " ".join(map(str, words)), "setup -22 size 0",
                  "a queue of {} entries at {:#x}, {:#x}, {:#x}".format(*words))
    script.play(host)


def chain_text(buffers):
    """As /lab/ring prints a chain of (gpa, length, writable)."""
    text = "chain"
    for name, kind in ("out", False), ("in", True):
        mine = [(gpa, length) for gpa, length, writable in buffers if writable == kind and length]
        text += f" {name} {sum(length for _, length in mine)}" + "".join(f" {gpa:#x}+{length}" for gpa, length in mine)
    return text


def put_chain(script, buffers, table, entries):
    """Lay buffers into these entries of a table."""
    for (gpa, length, writable), entry, following in zip(buffers, entries, [*entries[1:], None]):
        script.descriptor(table + 16 * entry, gpa, length, WRITE * writable | NEXT * (following is not None), following or 0)


def some_buffers(random, count):
    readable = random.randrange(count + 1)
    return [(random.randrange(DATA, RAM - 5000), random.choice([0, 1, 1, 16, random.randrange(1, 5000)]), n >= readable)
            for n in range(count)]


def ring(script, size=8, start=0, features=INDIRECT_DESC):
    script.do(f"features {features}")
    script.do(f"queue {size} {start}")


@test("8.2-chains", ours="guest")
def good_chains(host):
    """Guards chains in any order of entries, with empty buffers, as long as may be, through an indirect table anywhere."""
    random, script = host.random, Script()
    for n in range(60):
        size = random.choice([4, 8, 16, 64])
        ring(script, size)
        entries = random.sample(range(size), size if n < 4 else random.randrange(1, size + 1))
        if n % 3:
            buffers = some_buffers(random, len(entries))
            put_chain(script, buffers, DESC, entries)
        else:           # the last entry of the chain in the ring is the table
            before = random.randrange(len(entries)) if n % 2 else 0
            inside = random.randrange(1, size - before + 1)
            buffers = some_buffers(random, before + inside)
            table = TABLE + random.randrange(64)
            put_chain(script, buffers[:before] + [(table, 16 * size, True)], DESC, entries[:before + 1])
            script.poke(2, DESC + 16 * entries[before] + 12, INDIRECT | random.choice([0, WRITE]))
            put_chain(script, buffers[before:], table, [0, *random.sample(range(1, size), inside - 1)])
        script.do(f"walk {entries[0]}", chain_text(buffers), "the buffers of a chain that is in order")
    script.play(host)


@test("8.2-bounds", ours="guest")
def buffers_in_ram(host):
    """Guards buffers: the last byte of RAM is the guest's, the next is not, and no sum overflows; nor may the order be wrong."""
    random, script = host.random, Script()
    for gpa, length, good in ((RAM - 1, 1, True), (RAM - 1, 2, False), (RAM, 1, False), (0, RAM, True), (0, RAM + 1, False),
                              (RAM - 16, 0xFFFFFFFF, False), ((1 << 64) - 16, 32, False), (1 << 63, 16, False),
                              (random.randrange(RAM), RAM, False), (DATA, 0xFFFFFFFF, False)):
        for writable in False, True:
            ring(script)
            first = (DATA, random.randrange(1, 100), False)
            put_chain(script, [first, (gpa, length, writable)], DESC, [3, 5])
            script.do("walk 3", chain_text([first, (gpa, length, writable)]) if good else "wrong",
                      f"{length} bytes at {gpa:#x} of a guest with {RAM:#x}")
    for flags in "WR", "RWR", "WWRW":
        ring(script)
        put_chain(script, [(DATA + 64 * n, 8, flag == "W") for n, flag in enumerate(flags)], DESC, range(len(flags)))
        script.do("walk 0", "wrong", "a readable buffer behind a writable one")
    script.play(host)


@test("8.2-loops", ours="guest")
def loops(host):
    """Guards chains that never end, in the ring and in a table, also of empty buffers, and indexes behind the table."""
    random, script = host.random, Script()
    for length in 0, 1:
        for loop in ([2, 2], [1, 4, 1], [0, 1, 2, 3, 4, 5, 6, 7, 0], [5, 6, 7, 6]):
            for table, head in (DESC, loop[0]), (TABLE, 7):
                ring(script)
                for entry, following in zip(loop, loop[1:]):
                    script.descriptor(table + 16 * entry, DATA, length, NEXT, following)
                if table == TABLE:
                    script.descriptor(DESC + 16 * 7, TABLE, 16 * 8, INDIRECT)
                    script.descriptor(TABLE, DATA, length, NEXT, loop[0])
                    if loop[0] == 0:
                        script.descriptor(TABLE, DATA, length, NEXT, loop[1])
                script.do(f"walk {head}", "wrong", "a chain with a loop")
    for wrong in 8, 9, 255, random.randrange(8, 65536), 65535:
        ring(script)
        script.descriptor(DESC + 16 * 3, DATA, 1, NEXT, wrong)
        script.do("walk 3", "wrong", f"a chain that goes on at entry {wrong} of 8")
        ring(script)
        script.descriptor(DESC, TABLE, 32, INDIRECT)
        script.descriptor(TABLE, DATA, 1, NEXT, 2 if wrong == 8 else wrong)
        script.do("walk 0", "wrong", "a chain that leaves its indirect table of 2 entries")
    script.play(host)


@test("8.2-indirect", ours="guest")
def bad_tables(host):
    """Guards indirect tables: not negotiated, within another, followed, of impossible lengths, outside of RAM."""
    script = Script()
    for length, flags, gpa, features in ((0, 0, TABLE, INDIRECT_DESC), (8, 0, TABLE, INDIRECT_DESC), (17, 0, TABLE, INDIRECT_DESC),
                                         (16 * 9, 0, TABLE, INDIRECT_DESC), (16, NEXT, TABLE, INDIRECT_DESC), (16, 0, TABLE, 0),
                                         (32, 0, RAM - 16, INDIRECT_DESC), (16, 0, (1 << 64) - 8, INDIRECT_DESC),
                                         (0xFFFFFFF0, 0, TABLE, INDIRECT_DESC)):
        ring(script, features=features)
        script.descriptor(TABLE, DATA, 4)
        script.descriptor(DESC, gpa, length, INDIRECT | flags, 1)
        script.descriptor(DESC + 16, DATA, 4)
        script.do("walk 0", "wrong", f"a table of {length} bytes at {gpa:#x}, flags {flags}, negotiated: {bool(features)}")
    ring(script)
    script.descriptor(DESC, TABLE, 16, INDIRECT)
    script.descriptor(TABLE, TABLE + 64, 16, INDIRECT)
    script.descriptor(TABLE + 64, DATA, 4)
    script.do("walk 0", "wrong", "an indirect table within another")
    script.play(host)


@test("8.2-once", ours="guest")
def read_once(host):
    """Guards that no byte of a descriptor is read twice: the second time another value may be there than was checked."""
    random, script = host.random, Script()
    ring(script)
    buffers = some_buffers(random, 5)
    put_chain(script, [*buffers[:2], (TABLE, 16 * 3, False)], DESC, [1, 6, 2])
    script.poke(2, DESC + 16 * 2 + 12, INDIRECT)
    put_chain(script, buffers[2:], TABLE, [0, 2, 1])
    script.do("trace")
    script.do("walk 1", chain_text(buffers))
    steps = accesses(script.play(host).output)
    seen = [gpa + n for what, gpa, size, _ in steps if what == "r" for n in range(size)]
    twice = sorted({gpa for gpa in seen if seen.count(gpa) > 1})
    if twice:
        raise Mismatch("a field of a descriptor is read twice", "each byte read once, into a copy",
                       show([step for step in steps if step[0] == "r" and set(range(step[1], step[1] + step[2])) & set(twice)]))
    expect(len(seen) >= 6 * 16 - 8, True, "all descriptors of the chain are read")


def head_text(head, gpa, length):
    return f"head {head} out {length} {gpa:#x}+{length} in 0"


@test("8.3-believe", ours="guest")
def heads(host):
    """Guards what the available ring says: heads out of range, heads in flight, an index that jumped."""
    random, script = host.random, Script()
    size = 8
    for jump in 9, 10, 255, 32768, 65535, random.randrange(9, 65536):
        ring(script, size, start := random.randrange(65536))
        script.descriptor(DESC, DATA, 4)
        script.poke(2, AVAIL + 2, start + jump & 0xFFFF)
        script.do("pop", "broken", f"the available index went on by {jump} in a queue of {size}")
    for head in 8, 9, 256, 65535:
        ring(script, size)
        script.offer(size, 0, head)
        script.do("pop", "broken", f"head {head} of a queue of {size}")
    ring(script, size)
    for entry in range(size):
        script.descriptor(DESC + 16 * entry, DATA + 64 * entry, 4)
    order = random.sample(range(size), size)
    for n, head in enumerate(order):
        script.offer(size, n, head)
    for head in order:
        script.do("pop", head_text(head, DATA + 64 * head, 4), "a ring that is full is in order")
    script.do("pop", "none", "after that there is nothing more")
    script.offer(size, size, order[0])
    script.do("pop", "broken", "a ninth request while all eight are in flight")
    ring(script, size)
    script.descriptor(DESC + 16 * 5, DATA, 4)
    script.offer(size, 0, 5)
    script.do("pop", head_text(5, DATA, 4))
    script.offer(size, 1, 5)
    script.do("pop", "broken", "a head that is in flight already")
    ring(script, size)
    script.descriptor(DESC + 16 * 5, DATA, 4)
    for n in range(20):
        script.offer(size, n, 5)
        script.do("pop", head_text(5, DATA, 4), "a head that came back is in order")
        script.do("give 5")
    script.play(host)


@test("8.3-order", ours="guest")
def pop_order(host):
    """Guards the missing barrier: the index is read once and first, with an order; only then an entry, and then the chain."""
    script = Script()
    ring(script, 8, 3)
    script.descriptor(DESC + 16 * 4, DATA, 4)
    script.offer(8, 3, 4)
    script.do("trace")
    script.do("pop", head_text(4, DATA, 4))
    steps = accesses(script.play(host).output)
    entry = AVAIL + 4 + 3 * 2
    index = [at for at, (what, gpa, *_) in enumerate(steps) if what == "r" and gpa == AVAIL + 2]
    entries = [at for at, (what, gpa, *_) in enumerate(steps) if what == "r" and gpa == entry]
    if len(index) != 1 or len(entries) != 1:
        raise Mismatch("the available ring is read more than once, and may say something else each time",
                       "one read of the index, one of the entry", show(steps))
    if not any(index[0] <= at < entries[0] and step[3] in (ACQUIRE, 4, SEQ_CST) for at, step in enumerate(steps)):
        raise Mismatch("the entry may be read before the index: nothing orders them", "the index read with acquire, or a fence",
                       show(steps))


@test("8.3-wrap", ours="guest")
def pop_wraps(host):
    """Guards indexes that wrap at 65536, over and over, in rings of several sizes."""
    random, script = host.random, Script()
    for size in 2, 4, 256:
        ring(script, size, start := 65536 - random.randrange(1, 20))
        for n in range(40):
            head = random.randrange(size)
            gpa, length = random.randrange(DATA, RAM - 100), random.randrange(1, 100)
            script.descriptor(DESC + 16 * head, gpa, length)
            script.do("pop", "none", "nothing is there yet")
            script.offer(size, start + n, head)
            script.do("pop", head_text(head, gpa, length), f"request {start + n} of a queue of {size}")
            script.do(f"give {head}")
    script.play(host)


@test("8.4-elements", ours="guest")
def elements(host):
    """Guards the used ring: each element in its place, shown only by publish, also over the wrap; the head is free again."""
    random, script = host.random, Script()
    for size in 1, 8, 256:
        ring(script, size, start := 65536 - random.randrange(1, 20))
        n = start
        while n < start + 40:
            batch = [(random.randrange(size), random.randrange(1 << 32)) for _ in range(min(size, random.randrange(1, 5)))]
            for head, length in batch:
                script.do(f"take {head}")
                script.do(f"fill {head} {length}")
                script.do(f"flight {head}", "in flight 0", "a head that was given back")
            script.do(f"dump {USED + 2} 2", f"dump {(n & 0xFFFF).to_bytes(2, 'little').hex()}", "the used index before publish")
            script.do("publish")
            for at, (head, length) in enumerate(batch, n):
                element = head.to_bytes(4, "little") + length.to_bytes(4, "little")
                script.do(f"dump {USED + 4 + at % size * 8} 8", f"dump {element.hex()}", f"element {at} of the used ring")
            n += len(batch)
            script.do(f"dump {USED + 2} 2", f"dump {(n & 0xFFFF).to_bytes(2, 'little').hex()}", "the used index after publish")
    script.play(host)


@test("8.4-order", ours="guest")
def push_order(host):
    """Guards the barrier: the driver that sees the used index sees the element too; the index is written once and last."""
    script = Script()
    ring(script, 8, 6)
    for line in "take 2", "trace", "fill 2 77", "trace", "publish":
        script.do(line)
    steps = accesses(script.play(host).output)
    index = [at for at, (what, gpa, *_) in enumerate(steps) if what == "w" and gpa == USED + 2]
    element = [at for at, (what, gpa, *_) in enumerate(steps) if what == "w" and USED + 4 + 6 * 8 <= gpa < USED + 4 + 7 * 8]
    if len(index) != 1 or not element or max(element) > index[0]:
        raise Mismatch("the index must be written once, after the element", "write id, write length, write used index", show(steps))
    if not any(max(element) < at <= index[0] and step[3] >= RELEASE for at, step in enumerate(steps)):
        raise Mismatch("the index may be seen before the element: nothing orders them",
                       "the index written with release, or a fence before it", show(steps))


def laid(script, random, outs, ins):
    """A chain of buffers of these lengths, no two of them touching; [gpa] of each byte, for out and in."""
    gpas = random.sample(range(DATA, RAM - 8192, 8192), len(outs) + len(ins))
    script.do(f"chain {len(outs)} {len(ins)} " + " ".join(f"{gpa} {length}" for gpa, length in zip(gpas, [*outs, *ins])))
    spans = [[gpa + n for n in range(length)] for gpa, length in zip(gpas, [*outs, *ins])]
    return sum(spans[:len(outs)], []), sum(spans[len(outs):], [])


@test("8.5-bytes", ours="guest")
def chain_bytes(host):
    """Guards reading and writing over buffers as the driver cut them, in pieces as the device wants them, to the last byte."""
    random, script = host.random, Script()
    for _ in range(12):
        outs, ins = ([random.choice([1, 2, random.randrange(1, 300)]) for _ in range(random.randrange(1, 6))] for _ in range(2))
        out, into = laid(script, random, outs, ins)
        data = random.randbytes(len(out))
        for gpa, byte in zip(out, data):
            script.do(f"bytes {gpa} {byte:02x}")
        at = 0
        while at <= len(data):
            length = random.choice([1, 7, len(data) - at, 400])
            piece = data[at:at + length]
            script.do(f"read {length}", f"read {len(piece)} left {len(data) - at - len(piece)} {'ee' * 8}{piece.hex()}{'ee' * 8}",
                      f"{length} bytes of the {len(data) - at} left to read")
            at += max(1, length)
        data, at = random.randbytes(len(into) + random.choice([0, 1, 50])), 0
        while at < len(data):
            piece = data[at:at + random.choice([1, 7, 60, 400])]
            room = max(0, min(len(into) - at, len(piece)))
            script.do(f"write {piece.hex()}", f"write {room} left {max(0, len(into) - at - room)}",
                      f"{len(piece)} bytes into the {max(0, len(into) - at)} left to write")
            at += len(piece)
        for gpa, byte in zip(into, data):
            script.do(f"dump {gpa} 1", f"dump {byte:02x}", f"the byte at {gpa:#x}")
        for gpa in {gpa + 1 for gpa in into} - set(into):
            script.do(f"dump {gpa} 1", "dump 00", f"the byte at {gpa:#x}, behind a buffer")
        for gpa in [*out, *into]:
            script.do(f"bytes {gpa} 00")
    script.play(host)


@test("8.5-last", ours="guest")
def last_byte(host):
    """Guards the last byte, where block devices leave their status: cut off, alone in its buffer or not, and all else still there."""
    random, script = host.random, Script()
    for ins in [5], [1], [3, 1], [1, 1, 1], [random.randrange(2, 99), random.randrange(2, 99)]:
        _, into = laid(script, random, [4], ins)
        script.do("last", f"last {into[-1]:#x} left {len(into) - 1}", f"the last byte of writable buffers of {ins}")
        data = random.randbytes(len(into) + 3)
        script.do(f"write {data.hex()}", f"write {len(into) - 1} left 0", "what is left to write without it")
        script.do(f"dump {into[-1]} 1", "dump 00", "the last byte, which nobody has written to")
        script.do("last", "last none left 0", "when nothing is left")
        for gpa in into:
            script.do(f"bytes {gpa} 00")
    _, into = laid(script, random, [4], [random.randrange(1, 9), 1, 1])
    for n in 1, 2, 3:
        script.do("last", f"last {into[-n]:#x} left {len(into) - n}", "one last byte after another")
    laid(script, random, [4], [])
    script.do("last", "last none left 0", "nothing is writable")
    script.play(host)


RANDOM_BYTES = "cat /sys/class/misc/hw_random/rng_current; dd if=/dev/hwrng bs={size} count=20 2>/dev/null | wc -c"


def reads_entropy(host):
    size = host.random.randrange(17, 300)
    run = host.run(f"in-initrd '{RANDOM_BYTES.format(size=size)}'", 60, events="none")
    run.has("^virtio_rng.0$", "the guest has no entropy device")
    run.has(f"^{20 * size}$", f"20 reads of {size} bytes from /dev/hwrng")
    healthy(run)


@test("8.5-linux", ours="guest")
def launcher_serves_linux(host):
    """Guards the launcher's half as a whole: Linux's own driver gets its random bytes, with our transport in the guest."""
    reads_entropy(host)


def finds(host, sizes, parameters="", variables=""):
    """A driver that wants queues of a made-up device that offers these sizes."""
    data = page(record(9, queues=[(size, 0) for size in sizes], features=VERSION_1))
    return visit(host, [data], f"{NEXT_PAGE}\n{LOAD}\ninsmod /job/probe.ko {parameters}", variables)


@test("8.6-setup", ours="launcher")
def sets_up(host):
    """Guards that the host is told where each ring is, by gpa, in order, and only of queues that the driver named."""
    random = host.random
    sizes = [2 ** random.randrange(1, 9) for _ in range(5)]
    skipped = random.randrange(5)
    run = finds(host, sizes, f"queues=5 unnamed={1 << skipped}")
    run.has("^probe: find_vqs 0$", "find_vqs() fails")
    pattern = r"(\d+) size (\d+) desc (\S+) avail (\S+) used (\S+)$"
    told = re.findall(r"^queue 0 " + pattern, run.output, re.M)
    has = re.findall(r"^probe: queue \d index " + pattern, run.output, re.M)
    expect([queue[:2] for queue in has], [(str(n), str(size)) for n, size in enumerate(sizes[:4])], "index and size of the queues")
    expect("\n".join(map(str, told)), "\n".join(map(str, has)), "index, size and addresses that the host was told")
    healthy(run)


@test("8.6-sizes", ours="launcher")
def impossible_sizes(host):
    """Guards sizes that no ring can have, and a host that refuses a queue; what was set up before is taken back."""
    for size in 0, host.random.choice([3, 7, 48, 65535]):
        run = finds(host, [8, size], "queues=2")
        run.has("^probe: find_vqs -2$", f"a queue of size {size}")
        run.has("^queue 0 0 gone$", "the queue before it is not taken away again")
        run.lacks("^queue 0 1 ", "the host is told of a queue of this size")
        healthy(run)
    run = finds(host, [8, 16], "queues=2", "REFUSE_QUEUE=1")
    run.has("^probe: find_vqs -22$", "a queue that the host does not take")
    healthy(run)


@test("8.6-linux", ours="launcher")
def guest_drives(host):
    """Guards the guest's half as a whole: Linux's own driver gets its random bytes, with our launcher."""
    reads_entropy(host)
