# SPDX-License-Identifier: GPL-2.0
"""Lab 11. The driver meets a disk that is a module of its own guest (/lab/disk.ko); the launcher's block.c is linked into
/lab/block, where the host's reads and writes may be short; then each works with our other half, and both together."""
import re
import sys
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_devices import Script, cut, data, found, hash_of, in_guest, line  # noqa: E402
from grader import Mismatch, expect, test  # noqa: E402

SECTOR, PAGE, HEADER = 512, 4096, 16
SECTORS = 64            # of an image for /lab/block
IN, OUT, FLUSH, GET_ID, DISCARD, ZEROES = 0, 1, 4, 8, 11, 13
OK, IOERR, UNSUPP = 0, 1, 2
F_FLUSH = 1 << 9


def disk(host, test, requests, ring=64):
    """Let the driver meet the disk with requests (write, pages, sector, answer, more). Returns what the disk says, and the seed."""
    seed = host.random.randrange(1, 200)
    columns = dict(zip(("write", "pages", "sector", "answer", "more"), zip(*requests)))
    words = " ".join(f"{name}={','.join(map(str, map(int, values)))}" for name, values in columns.items())
    run = in_guest(host, f"insmod /job/disk.ko test={test} seed={seed} ring={ring} {words}\n"
                   "dmesg | grep -E 'fake: |WARNING|BUG'")
    said = "\n".join(re.findall(r"^(?:\[[^]]*\] )?fake: (.*)$", run.output, re.M)) + "\n"
    if "done" not in said:
        raise Mismatch("the driver did not take the disk", "done", run.output[-1200:])
    return said, seed


def pattern(seed, n, length):
    return bytes((seed + n * 37 + at * at + (at >> 8)) & 0xFF for at in range(length))


def some(random, count, pages=17, answer=lambda: OK, more=lambda write, pages: 0):
    """Requests that do not touch one another."""
    places = random.sample(range(0, 4096 - 16 * 8, 16 * 8 + 8), count)
    rows = []
    for place in places:
        write, length = random.randrange(2), random.randrange(1, pages)
        rows.append((write, length, place, answer(), more(write, length)))
    return rows


def ends(said, rows):
    """How each request ended, by number."""
    pairs = [tuple(map(int, pair)) for pair in re.findall(r"^end (\d+) error (-?\d+)$", said, re.M)]
    expect(sorted(number for number, _ in pairs), list(range(len(rows))), "requests that ended, each once")
    return [error for _, error in sorted(pairs)]


@test("11.1-requests", ours="launcher")
def requests(host):
    """Guards what the disk sees of a request: header, data in as many pieces as it has, status; what it reads before what it writes."""
    rows = some(host.random, 18)
    said, seed = disk(host, "requests", rows, ring=512)
    got = [tuple(map(int, numbers)) for numbers in re.findall(
        r"^request type (\d+) sector (\d+) header (\d+) readable (\d+) writable (\d+) last (\d+) order (\d+) sum (\d+)$", said, re.M)]
    wanted = []
    for n, (write, pages, sector, _, _) in enumerate(rows):
        content = pattern(seed, n, pages * PAGE) if write else b""
        wanted.append((OUT if write else IN, sector, HEADER, HEADER + len(content), 1 + (not write) * pages * PAGE, 1, 1, hash_of(content)))
    expect(got, wanted, "type, sector, bytes of the header, readable, writable, bytes of the last piece, in order, sum of the data")


@test("11.2-status", ours="launcher")
def status(host):
    """Guards the status: OK, IOERR, UNSUPP, what no disk answers, and none at all; and the data of what was read."""
    answers = [OK, OK, OK, IOERR, UNSUPP, 3, 77, 128, 255, 256, 256, OK, UNSUPP, IOERR]
    host.random.shuffle(answers)
    left = iter(answers)
    rows = some(host.random, len(answers), 9, answer=lambda: next(left))
    said, seed = disk(host, "answers", rows, ring=512)
    expect(ends(said, rows), [{OK: 0, UNSUPP: -95}.get(answer, -5) for answer in answers],
           f"errors of requests that the disk answers with {answers} (256: not at all)")
    got = {int(n): int(value) for n, value in re.findall(r"^data (\d+) sum (\d+)$", said, re.M)}
    wanted = {n: hash_of(pattern(seed, n, row[1] * PAGE)) for n, row in enumerate(rows) if not row[0]}
    expect(got, wanted, "sums of what was read")


@test("11.2-length", ours="launcher")
def length(host):
    """Guards reads that the disk calls good and has not filled: to the last byte. A write's status is one byte."""
    random = host.random

    def lie(write, pages):
        return random.choice([0, -1]) if write else random.choice([0, 0, -1, -2, -512, -pages * PAGE, -pages * PAGE - 1, 100])
    rows = some(random, 20, 9, more=lie)
    rows[0] = (0, 2, rows[0][2], OK, -1)
    rows[1] = (0, 2, rows[1][2], OK, 0)
    said, _ = disk(host, "answers", rows, ring=512)
    expect(ends(said, rows), [-5 if more < 0 else 0 for *_, more in rows],
           "errors of requests with OK and a length that is wrong by " + str([more for *_, more in rows]))


@test("11.2-together", ours="launcher")
def back_together(host):
    """Guards requests that come back with one interrupt: each of them ends, once."""
    rows = some(host.random, 16, 5)
    said, _ = disk(host, "together", rows, ring=512)
    expect(ends(said, rows), [0] * len(rows), "errors of requests that came back together")
    expect(found(said, r"ended (\d+) interrupts (\d+)", "the disk's count"), [len(rows), 1], "requests ended, interrupts")


@test("11.3-kicks", ours="launcher")
def kicks(host):
    """Guards kicks: one for all requests that blk-mq hands over together, one for each that comes alone."""
    half = host.random.randrange(5, 11)
    rows = some(host.random, 2 * half, 2)
    said, _ = disk(host, "kicks", rows, ring=512)
    expect(found(said, r"plugged (\d+) kicks (\d+)", "the disk's count"), [half, 1], "requests in one go, kicks for them")
    expect(found(said, r"all (\d+) kicks (\d+)", "the disk's count"), [2 * half, half], "requests in all, kicks for those one by one")


@test("11.3-full", ours="launcher")
def full(host):
    """Guards a ring that is full: blk-mq waits, nobody is told of an error, and all goes on when there is room."""
    # Fewer than the ring has entries: the driver lets blk-mq have as many, and for more who asks would have to wait.
    rows = [(*row[:1], 1, *row[2:]) for row in some(host.random, host.random.randrange(11, 16))]
    said, _ = disk(host, "full", rows, ring=16)
    expect(ends(said, rows), [0] * len(rows), "errors of requests, five of which a ring of 16 holds")
    expect(re.search(r"^round of (\d+)$", said, re.M).group(1), "5", "requests in the ring when it is full")


def at_work(host, prefix, **options):
    """A guest writes to a disk, here and there, and reads all of it past its caches; then the image is compared."""
    random = host.random
    start, content = random.randbytes(1 << 16), random.randbytes(1 << 17)
    image = bytearray(start * 16)
    commands = [f"d=/dev/{prefix}a", "echo size $(cat /sys/class/block/${d#/dev/}/size)"]
    for _ in range(6):
        size = random.choice([1, 3, 16, 100, 200])
        to, skip = random.randrange(len(image) // SECTOR - size), random.randrange(len(content) // SECTOR - size)
        flag = random.choice(["conv=notrunc", "oflag=direct conv=notrunc", "conv=notrunc,fsync"])
        commands.append(f"dd if=/job/content of=$d bs=512 count={size} seek={to} skip={skip} {flag} 2>/dev/null || echo write failed")
        image[to * SECTOR:(to + size) * SECTOR] = content[skip * SECTOR:(skip + size) * SECTOR]
    commands += ["sync; echo 3 > /proc/sys/vm/drop_caches", "echo all $(sha256sum < $d)"]
    host.check("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do cat start; done > /tmp/disk.img; rm start",
               files={"start": start, "content": content}, events="none")
    run = in_guest(host, "\n".join(commands), "-d /tmp/disk.img,serial=ours", **options)
    wanted = sha256(image).hexdigest()
    run.has(f"^size {len(image) // SECTOR}$", "the size of the disk")
    run.lacks("^write failed")
    run.has(f"^all {wanted}", "what the guest reads of the whole disk")
    expect(host.check("sha256sum < /tmp/disk.img", events="none").output.split()[0], wanted, "the image afterwards")


@test("11.3-ours", ours="launcher")
def driver_with_ours(host):
    """The driver alone: under our launcher."""
    at_work(host, "rb")


class Disk(Script):
    """A script for /lab/block with a copy of the image, which each request changes as it should."""

    def __init__(self, random, options="", sectors=SECTORS):
        super().__init__("block")
        self.random, self.image = random, bytearray(sectors * SECTOR)
        self.do(f"image /tmp/image{options}")
        self.sectors, self.read_only, self.durable = sectors, options.startswith(",ro"), False

    def features(self, value):
        self.durable = not value & F_FLUSH
        self.do(f"features {value}")

    def request(self, kind, sector, out=(), room=0, status=OK, answer=b"", why="", header=HEADER, sync=0):
        """out: pieces (length, seed) of data; room: bytes to be filled, status excluded; answer: what fills them."""
        random = self.random
        text = (kind.to_bytes(4, "little") + bytes(4) + sector.to_bytes(8, "little"))[:header].hex()
        split = 2 * random.randrange(1, header) if header > 1 and random.randrange(2) else len(text)
        words = [text[:split], text[split:], *(f"*{length}:{seed}" for length, seed in out)]
        rooms = cut(random, room + 1, random.randrange(1, min(room, 6) + 1 if room else 2))
        head = random.randrange(64)
        self.do(f"chain {head} {' '.join(word for word in words if word)} / {' '.join(map(str, rooms))}")
        content = answer + b"\xee" * (room - len(answer)) + bytes([status])
        self.do("serve 0", *["fdatasync"] * sync, f"fill {head} {len(answer) + 1}", "publish", line("in", content), "served",
                why=why or f"a request of type {kind} at sector {sector} of {self.sectors}, {sum(n for n, _ in out)} bytes out, {room} in")

    def read(self, sector, length, good=True, **more):
        answer = bytes(self.image[sector * SECTOR:][:length]) if good else b""
        self.request(IN, sector, room=length, status=OK if good else IOERR, answer=answer, **more)

    def write(self, sector, length, good=True, **more):
        lengths = cut(self.random, length, min(length, self.random.randrange(1, 6))) if length else []
        out = [(n, self.random.randrange(200)) for n in lengths]
        self.request(OUT, sector, out=out, status=OK if good else IOERR, sync=int(good and self.durable), **more)
        if good:
            self.image[sector * SECTOR:sector * SECTOR + length] = b"".join(data(n, seed) for n, seed in out)

    def run(self, host, fill=b""):
        """Play it, and compare the image."""
        start = (fill or bytes(SECTOR)) * (self.sectors * SECTOR // len(fill or bytes(SECTOR)))
        expect(len(start), len(self.image), "the test's image")
        host.check("cat start > /tmp/image", files={"start": start}, events="none")
        self.play(host)
        got = host.check("sha256sum < /tmp/image", events="none").output.split()[0]
        expect(got, sha256(self.image).hexdigest(), "sha256 of the image afterwards")


@test("11.4-types", ours="guest")
def types(host):
    """Guards the type: flush and serial number; a type that is none of ours is unsupported, not an error."""
    random = host.random
    serial = "".join(random.choice("abcdefghij0123456789") for _ in range(random.randrange(3, 21)))
    padded = serial.encode().ljust(20, b"\0")
    disk = Disk(random, f",serial={serial}")
    disk.features(F_FLUSH)
    for _ in range(3):
        disk.request(FLUSH, 0, sync=1)
        disk.request(GET_ID, 0, room=20, answer=padded)
        disk.request(GET_ID, 0, room=40, answer=padded)
        disk.request(GET_ID, random.randrange(1 << 40), room=7, answer=padded[:7])
        for kind in 2, 3, 5, 9, 10, 12, 0xFFFFFFFF, random.randrange(100, 1 << 31):
            disk.request(kind, random.randrange(1 << 40), room=random.choice([0, 512]), status=UNSUPP)
    disk.run(host)


@test("11.4-broken", ours="guest")
def broken(host):
    """Guards requests that are none: a header too short is an error, and without room for a status nothing can be said."""
    disk = Disk(host.random)
    for header in 1, 4, 15, host.random.randrange(2, 15):
        disk.request(GET_ID, 0, room=20, status=IOERR, header=header)
    disk.do(f"chain 3 {FLUSH:02x}{'00' * 15} /")
    disk.do("serve 0", "fill 3 0", "publish", "in 0  0", "served", why="a request without room for a status")
    disk.run(host)


@test("11.5-data", ours="guest")
def reads_and_writes(host):
    """Guards data: whatever the pieces, wherever, and when the host transfers less than was asked for, or is interrupted."""
    random = host.random
    fill = random.randbytes(8192)
    for most in 0, random.randrange(100, 700), 511:
        disk = Disk(random)
        disk.image[:] = fill * (SECTORS * SECTOR // len(fill))
        disk.features(F_FLUSH)
        disk.do(f"short {most}")
        for _ in range(16):
            length = random.choice([1, 1, 2, 3, random.randrange(1, 20)])
            sector = random.randrange(SECTORS - length + 1)
            random.choice([disk.read, disk.write])(sector, length * SECTOR)
        disk.read(0, SECTORS * SECTOR)
        disk.run(host, fill)


@test("11.5-bounds", ours="guest")
def bounds(host):
    """Guards the disk's end, to the sector; sums that overflow; what is no whole number of sectors; an image that shrank."""
    random = host.random
    sectors = random.randrange(9, SECTORS)
    disk = Disk(random, sectors=sectors)
    disk.features(F_FLUSH)
    for ask in disk.read, disk.write:
        for count in 1, 2, random.randrange(3, 9):
            ask(sectors - count, count * SECTOR)
            ask(sectors - count + 1, count * SECTOR, good=False)
            for sector in sectors, sectors + 1, 1 << 55, (1 << 63) - count, (1 << 64) - count, (1 << 64) - 1, 1 << 32, sectors - count + (1 << 55):
                ask(sector, count * SECTOR, good=False)
        for length in 1, 511, 513, 1000:
            ask(random.randrange(4), length, good=False)
        ask(0, (sectors + 1) * SECTOR, good=False)
    disk.write(0, sectors * SECTOR)
    disk.read(0, sectors * SECTOR)
    disk.run(host)
    disk = Disk(random)
    disk.do(f"truncate {SECTOR}")
    disk.request(IN, 4, room=SECTOR, status=IOERR, why="a read of what an image that was cut no longer has")
    host.check("cat start > /tmp/image", files={"start": bytes(SECTORS * SECTOR)}, events="none")
    disk.play(host)


@test("11.5-read-only", ours="guest")
def read_only(host):
    """Guards a disk that is read-only: also against a driver that does not care."""
    random = host.random
    fill = random.randbytes(512)
    disk = Disk(random, ",ro")
    disk.image[:] = fill * SECTORS
    disk.features(F_FLUSH)
    disk.write(0, 0, good=False)
    for _ in range(4):
        disk.write(random.randrange(SECTORS), random.choice([0, SECTOR]), good=False)
        disk.read(random.randrange(SECTORS), SECTOR)
    disk.run(host, fill)


@test("11.5-durable", ours="guest")
def durable(host):
    """Guards writes of a driver that cannot flush: each is on the disk when it ends; for one that can, none is flushed."""
    disk = Disk(host.random)
    for features in F_FLUSH, 1 << 6, F_FLUSH, 1 << 6:
        disk.features(features)
        for _ in range(4):
            disk.write(host.random.randrange(SECTORS - 4), host.random.randrange(1, 4) * SECTOR)
            disk.read(host.random.randrange(SECTORS), SECTOR)
    disk.run(host)


@test("11.5-ours", ours="guest")
def device_with_ours(host):
    """The device alone: with the kernel's own driver."""
    at_work(host, "vd", variables="CMDLINE=drivers=stock")


@test("11.5-together")
def together(host):
    """Your driver and your device."""
    at_work(host, "rb")
