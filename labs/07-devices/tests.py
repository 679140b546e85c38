# SPDX-License-Identifier: GPL-2.0
"""Lab 7. The guest's half is shown pages made here by /lab/pages, our launcher without its devices; the launcher's half
talks to a tiny guest, and device_config() is watched at its writing by /lab/config."""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from device_pages import (HEADER, LOAD, NEXT, PAGE, RECORD, VERSION_1, healthy, page, parts, record, scan,  # noqa: E402
                          visit)
from grader import Mismatch, expect, test  # noqa: E402

SOUND = r"^.*record (\d+) of the device page, at offset (\d+), is not sound$"
LIST = """for d in /sys/bus/virtio/devices/virtio*; do
	[ -e $d ] && read id < $d/device && read vendor < $d/vendor && echo "device $id $vendor"
done"""
RESET, FEATURES, STATUS = 17, 18, 16
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, FAILED = 1, 2, 4, 8, 128


def gone(random, **more):
    """A record of a device that has left, of a random size."""
    return record(queues=[(256, 0)] * random.randrange(5), config=bytes(random.randrange(60)), **more)


def scanned(host, pages):
    """Each page ends the guest's scan where it must, and nowhere else."""
    run = visit(host, pages, f"for page in $(seq {len(pages)}); do\n{NEXT}\necho == page\n{LOAD}\ndone")
    for number, (data, text) in enumerate(zip(pages, parts(run, len(pages)))):
        found = re.search(SOUND, text, re.M)
        said = (int(found.group(1)), int(found.group(2))) if found else None
        if said != scan(data)[1]:
            head = HEADER.unpack_from(data)
            raise Mismatch(f"where the scan of a page with count {head[2]} and length {head[3]} ends",
                           *("at record {}, offset {}".format(*end) if end else "behind the last record" for end in (scan(data)[1], said)))
    healthy(run)


def sound(random):
    """Pages that are in order, full to the last byte, or hold as many records as may be."""
    pages = [page(*(gone(random) for _ in range(n)), filler=random) for n in (0, 1, 5, 16)]
    some = [gone(random) for _ in range(3)]
    pages.append(page(*some, record(room=PAGE - HEADER.size - sum(map(len, some)) - RECORD.size)))
    pages.append(page(record(queues=[(1, 1)] * 16, config=bytes(1024)), record(queues=[(1, 1)] * 3, config=bytes(8))))
    return pages


@test("7.1-header", ours="launcher")
def header(host):
    """Guards sound pages, and the header: a length beyond the page or short of its records, a count of too many."""
    random = host.random
    pages = sound(random)
    some = [gone(random) for _ in range(4)]
    used = HEADER.size + sum(map(len, some))
    pages += [page(*some, length=length, filler=random) for length in (0, 8, 24, used - 8, used - len(some[3]) + 31, used - 1)]
    for size in 8, 16, 24:      # a record begins within the page, and ends behind it
        pages.append(page(*some, record(room=PAGE - used - RECORD.size - size), count=6, length=PAGE + 4096))
    pages.append(page(*some, record(room=PAGE - used - RECORD.size), count=6, length=0xFFFFFFF0))
    pages.append(page(*(record() for _ in range(16)), record(length=4), count=random.randrange(17, 65536)))
    scanned(host, pages)


def wrong_lengths(random):
    """Records that are too short for a record, odd, or end beyond the end."""
    pages = []
    for wrong in 0, 8, 24, 31, 36, 42, 0x7FFFFFF8, 0xFFFFFFF8, 0xFFFFFFFF, random.randrange(4096, 1 << 32) & ~7:
        some = [gone(random) for _ in range(random.randrange(4))]
        pages.append(page(*some, record(length=wrong), gone(random)))
    for more in 8, 64:          # ends behind what is in use, but within the page
        some = [gone(random) for _ in range(3)]
        pages.append(page(*some, record(length=32 + more), length=HEADER.size + sum(map(len, some)) + 32))
    return pages


@test("7.1-record", ours="launcher")
def records(host):
    """Guards a record's length and what it says to hold: no more queues than may be, and all of it within its length."""
    random = host.random
    lies = [dict(queues=[(1, 1)] * 17), dict(nr_queues=65535), dict(nr_queues=8191, room=32), dict(nr_queues=1),
            dict(queues=[(1, 1)] * 3, nr_queues=4, config=bytes(7), config_length=7, length=56 + 8),
            dict(config_length=1), dict(config_length=65535), dict(config=bytes(8), config_length=9),
            dict(queues=[(1, 1)] * 2, config=bytes(16), config_length=17)]
    scanned(host, wrong_lengths(random) + [page(*(gone(random) for _ in range(random.randrange(4))), record(**lie), gone(random))
                                           for lie in lies])


class Device:
    """The state that the launcher must keep for a driver."""

    def __init__(self, offered):
        self.offered, self.status, self.features = offered, 0, 0

    def hypercall(self, number, value):
        if number == RESET:
            self.status = self.features = 0
        elif number == FEATURES:
            if self.status & FEATURES_OK:
                return -16
            self.features = value
        else:
            self.take(value & ~self.status)
            return self.status
        return 0

    def take(self, wanted):
        self.status |= wanted & (ACKNOWLEDGE | FAILED)
        if self.status & ACKNOWLEDGE:
            self.status |= wanted & DRIVER
        if self.status & DRIVER and self.features & VERSION_1 and not self.features & ~self.offered:
            self.status |= wanted & FEATURES_OK
        if self.status & FEATURES_OK:
            self.status |= wanted & DRIVER_OK


def talk(host, calls):
    """Make hypercalls (number, device, value) on the submission's launcher; each must give what the model says."""
    names = {STATUS: "STATUS", RESET: "RESET", FEATURES: "FEATURES"}
    for start in range(0, len(calls), 40):
        words = " ".join(f"h{number} {device} {value} 0" for number, device, value in calls[start:start + 40])
        run = host.check(f"ringlet run -k /lab/talk -m 2 -p '{words}'", events="none")
        said = [int(value) for value in re.findall(r"^= (-?\d+)$", run.output, re.M)]
        devices = [Device(VERSION_1 | 1), Device(VERSION_1)]    # console and entropy
        before = []
        for (number, device, value), result in zip(calls[start:], said):
            before.append(f"{names[number]}({device}, {value:#x})")
            expect(result, devices[device].hypercall(number, value), "what the last of these says: " + " ".join(before[-8:]))
        run.has("^done$", "the guest did not come to its end")


@test("7.2-order", ours="guest")
def order(host):
    """Guards the order of the steps; a step that may not be taken yet leaves its bit unset, and nothing is taken back."""
    calls = [(FEATURES, 0, VERSION_1), *((STATUS, 0, bit) for bit in (DRIVER_OK, FEATURES_OK, DRIVER, ACKNOWLEDGE, DRIVER_OK,
                                                                      FEATURES_OK, DRIVER, DRIVER_OK, FEATURES_OK, DRIVER_OK)),
             (STATUS, 0, 0), (RESET, 0, 0), (STATUS, 0, FEATURES_OK), (STATUS, 0, 0)]
    calls += [(RESET, 1, 0)] * (40 - len(calls))    # a guest of its own
    bits = [ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, FAILED, 0, 3, 15]
    for _ in range(3):
        calls += [(FEATURES, 0, VERSION_1), (FEATURES, 1, VERSION_1)]
        calls += [(STATUS, host.random.randrange(2), host.random.choice(bits)) for _ in range(38)]
    talk(host, calls)


@test("7.2-features", ours="guest")
def features(host):
    """Guards FEATURES_OK: refused for what was not offered and without VERSION_1; what was agreed on stays until a reset."""
    calls = []
    for _ in range(8):
        device = host.random.randrange(2)
        for value in host.random.sample([VERSION_1, VERSION_1 | 1, VERSION_1 | 1 << host.random.randrange(2, 32), 1, 0,
                                         VERSION_1 | 1 << host.random.randrange(33, 63)], 3):
            calls += [(RESET, device, 0), (STATUS, device, 3), (FEATURES, device, value), (STATUS, device, FEATURES_OK),
                      (FEATURES, device, VERSION_1 | 1 << 40), (STATUS, device, DRIVER_OK), (STATUS, device, 0)]
    calls += [(RESET, 0, 0), (STATUS, 0, 3), (FEATURES, 0, VERSION_1), (RESET, 0, 0), (STATUS, 0, 3), (STATUS, 0, FEATURES_OK)]
    talk(host, calls)


def devices(random, count):
    """Records of count devices; some have left, but not the last, which an end too early must lose."""
    return [record(random.randrange(1, 60000) * (random.randrange(3) > 0 or last), random.randrange(1 << 32),
                   queues=[(256, 0)] * random.randrange(4), config=random.randbytes(random.randrange(40)),
                   features=random.getrandbits(24) | VERSION_1) for last in [False] * (count - 1) + [True]]


def listed(data):
    return [f"device {number:#06x} {vendor:#06x}" for _, number, vendor in scan(data)[0]]


@test("7.3-register", ours="launcher")
def register(host):
    """Guards that each device of a page comes on the bus as what it is, and talks to the host by its number."""
    random = host.random
    pages = [page(*devices(random, n), filler=random) for n in (1, 4, 16, 9)]
    pages.append(page(*devices(random, 5), record(7, 8, nr_queues=40000), *devices(random, 3)))
    run = visit(host, pages, f"for page in $(seq {len(pages)}); do\n{NEXT}\necho == page\n{LOAD}\n{LIST}\ndone")
    for data, text in zip(pages, parts(run, len(pages))):
        expect("\n".join(sorted(re.findall("^device .*", text, re.M))), "\n".join(sorted(listed(data))),
               "the devices in /sys/bus/virtio, with their vendors")
        numbers = [number for number, *_ in scan(data)[0]]
        expect(re.findall(r"^status (\d+) 0x1$", text, re.M), [str(number) for number in numbers],
               "the devices that the guest has acknowledged by hypercall")
    healthy(run)


@test("7.3-remove", ours="launcher")
def remove(host):
    """Guards that nothing stays behind when the transport is unloaded, and that it can come again."""
    pages = [page(*devices(host.random, 16)) for _ in range(8)]
    run = visit(host, pages, f"for page in $(seq {len(pages)}); do\n{NEXT}\n{LOAD}\nrmmod virtio_ringlet\necho == page\n"
                f"echo left $(ls /sys/bus/virtio/devices | wc -l)\n{LOAD}\n{LIST}\ndone")
    for data, text in zip(pages, parts(run, len(pages))):
        expect(re.findall(r"^left (\d+)$", text, re.M), ["0"], "entries in /sys/bus/virtio/devices after rmmod")
        expect("\n".join(sorted(re.findall("^device .*", text, re.M))), "\n".join(sorted(listed(data))),
               "the devices after insmod")
    healthy(run)


def probed(host, data, parameters, variables=""):
    """Show a page to a driver that takes every device."""
    run = visit(host, [data], f"{NEXT}\n{LOAD}\necho == page\ninsmod /job/probe.ko {parameters}", variables)
    healthy(run)
    return run


@test("7.4-agreed", ours="launcher")
def agreed(host):
    """Guards the features that the host is told: those that driver and device know, and of the transport's those it knows."""
    random = host.random
    ours = 1 << 28 | 1 << 29                        # INDIRECT_DESC, EVENT_IDX
    unknown = 1 << 30 | 1 << 31 | 1 << 35 | 1 << 39  # of the transport's range, but nothing of ours
    kind = 0xFFFFFF | (1 << 63) - (1 << 50)         # bits of the kind of device
    driver = random.getrandbits(63) & kind
    offers = [random.getrandbits(63) & kind | VERSION_1 | random.choice([0, 1 << 28, ours]) | unknown for _ in range(5)]
    run = probed(host, page(*(record(100 + n, features=value) for n, value in enumerate(offers))), f"features={driver:#x}")
    for n, value in enumerate(offers):
        told = int(run.has(rf"^features {n} (0x[0-9a-f]+)$", f"device {n}: no features were told to the host").group(1), 16)
        expect(hex(told), hex(value & (driver | VERSION_1 | ours)), f"the features of device {n}")
        run.has(rf"^probe: device {100 + n} features {told:#x}$", "the driver sees other features than the host")


@test("7.4-refused", ours="launcher")
def refused(host):
    """Guards devices without VERSION_1: nothing is agreed on with them, and no driver gets them."""
    random = host.random
    old = random.randrange(4)
    offers = [random.getrandbits(24) | (0 if n == old else VERSION_1) for n in range(4)]
    run = probed(host, page(*(record(100 + n, features=value) for n, value in enumerate(offers))), "features=0xffffff")
    run.lacks(f"^features {old} ", "features of a device without VERSION_1 were told to the host")
    run.lacks(f"probe: device {100 + old} ", "a driver got the device without VERSION_1")
    run.has(f"^status {old} 0x8[0-9a-f]$", "the device without VERSION_1 is not given up (FAILED)")
    for n in {0, 1, 2, 3} - {old}:
        run.has(f"^probe: device {100 + n} ", "no driver got a device that is in order")


def watched(host, generation, size, offset, text):
    """What device_config() does: [(generation, what, order)], generation at the end, config space."""
    output = host.check(f"/lab/config {generation} {size} {offset} {text}", events="none").output
    steps = [(int(now), what, int(order)) for now, what, order in re.findall(r"^(\d+) ([a-z ]+) (-?\d+)$", output, re.M)]
    end = re.search(r"^(\d+) end\nconfig (.*)$", output, re.M)
    if not end:
        raise Mismatch("device_config() does not come back", "its end", output)
    return steps, int(end.group(1)), end.group(2)


@test("7.5-writer", ours="guest")
def writer(host):
    """Guards the launcher's half of the generation: odd before the first byte, even after the last, and in this order."""
    random = host.random
    for _ in range(4):
        start, size = random.randrange(0, 1 << 20, 2), random.randrange(20, 60)
        text = "".join(random.choice("abcdef") for _ in range(random.randrange(1, 15)))
        offset = random.randrange(size - len(text))
        steps, end, config = watched(host, start, size, offset, text)
        expect(config, "." * offset + text + "." * (size - offset - len(text)), "the config space after the change")
        expect(end, start + 2, "the generation after the change")
        bytes_at = [at for at, step in enumerate(steps) if step[1] == "write config"]
        stores = [at for at, step in enumerate(steps) if step[1] == "write generation"]
        if any(steps[at][0] != start + 1 for at in bytes_at) or len(stores) != 2:
            raise Mismatch("bytes change while the generation is not odd", f"generation {start + 1}",
                           "\n".join(f"generation {now}: {what}" for now, what, _ in steps))
        ordered = [at for at, (_, what, order) in enumerate(steps) if what in ("fence", "write generation") and order >= 3]
        if not any(stores[0] <= at < bytes_at[0] for at in ordered):
            raise Mismatch("the odd generation may be seen after the new bytes", "a fence between them, or an ordered store",
                           "\n".join(f"{what}, order {order}" for _, what, order in steps))
        if not any(bytes_at[-1] < at <= stores[1] for at in ordered):
            raise Mismatch("the even generation may be seen before the new bytes", "a store with release, or a fence before it",
                           "\n".join(f"{what}, order {order}" for _, what, order in steps))


@test("7.5-reader", ours="launcher")
def reader(host):
    """Guards the guest's half: while the launcher changes the config space, nobody reads it."""
    random = host.random
    start = random.randrange(0, 1 << 20, 2)
    size = random.randrange(8, 64)
    run = probed(host, page(record(9, config=b"A" * size, features=VERSION_1, generation=start)),
                 f"generations=1 config_length={size}", "CHANGING=1")
    run.has(f"^probe: generation {start + 2}$", "the generation that the transport tells of")
    expect("".join(re.findall("^probe: config ([0-9a-f]+)$", run.output, re.M)), "42" * size,
           "a config space that was being changed from A (41) to B (42) when the driver began to read")


@test("7.5-bounds", ours="launcher")
def bounds(host):
    """Guards the end of the config space: what lies behind it reads as 0 and is not looked at, even at the page's end."""
    random = host.random
    config = bytes(random.randrange(1, 256) for _ in range(random.randrange(9, 16)))
    fill = 16 - len(config)
    first = record(5, config=config, features=VERSION_1)[:-fill] + b"X" * fill
    last = bytes(random.randrange(1, 256) for _ in range(8))
    rest = PAGE - HEADER.size - len(first) - 2 * RECORD.size - len(last)
    run = probed(host, page(first, record(room=rest), record(6, config=last, features=VERSION_1)),
                 "config_offset=4 config_length=40")
    wanted = "".join((space[4:] + bytes(40))[:40].hex() for space in (config, last))
    for how in "config", "at once":
        expect("".join(re.findall(f"^probe: {how} ([0-9a-f]+)$", run.output, re.M)), wanted,
               "40 bytes from offset 4 of config spaces that are shorter")
