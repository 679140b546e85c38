# SPDX-License-Identifier: GPL-2.0
"""Device pages made by hand, and guests that look at them: what the tests of labs 7 to 9 share."""
import re
import struct

from grader import Mismatch, expect

PAGE, DEVICES, QUEUES = 4096, 16, 16
HEADER, RECORD, QUEUE = struct.Struct("<IHHII"), struct.Struct("<IIIHHQIHBB"), struct.Struct("<HHI")
MAGIC = 0x50444C52
VERSION_1 = 1 << 32
# What is typed in a guest; its lines go straight to the kernel's log, in one order with the kernel's own.
LOAD = "insmod /modules/virtio_ringlet.ko || echo it cannot be loaded"
NEXT = "rmmod virtio_ringlet; echo next page"


def record(device_id=0, vendor=0, queues=(), config=b"", features=0, generation=0, irq=0, room=0, **lies):
    """A record; queues are (size, line); room: bytes behind the config space. lies: length, nr_queues, config_length."""
    body = b"".join(QUEUE.pack(size, line, 0) for size, line in queues) + config + bytes(room)
    body += bytes(-len(body) % 8)
    return RECORD.pack(lies.get("length", RECORD.size + len(body)), device_id, vendor, lies.get("nr_queues", len(queues)),
                       lies.get("config_length", len(config)), features, generation, irq, 0, 0) + body


def page(*records, count=None, length=None, irq=0, filler=0):
    """A page with these records, and with filler (a random.Random) behind them."""
    body = b"".join(records)
    rest = PAGE - HEADER.size - len(body)
    head = HEADER.pack(MAGIC, 1, len(records) if count is None else count,
                       HEADER.size + len(body) if length is None else length, irq)
    return head + body + (filler.randbytes(rest) if filler else bytes(rest))


def scan(data):
    """What a scan must find: [(number, device id, vendor)] of what is there, and (number, offset) of the record that ends it."""
    _, _, count, length, _ = HEADER.unpack_from(data)
    end, at, found = min(length, PAGE), HEADER.size, []
    for number in range(min(count, DEVICES)):
        if at + RECORD.size > end:
            return found, (number, at)
        size, device_id, vendor, queues, config, *_ = RECORD.unpack_from(data, at)
        if size > end - at or size % 8 or queues > QUEUES or size < RECORD.size + queues * QUEUE.size + config:
            return found, (number, at)
        found += [(number, device_id, vendor)] if device_id else []
        at += size
    return found, None


def visit(host, pages, commands, variables="", seconds=60):
    """Boot a guest with an empty page, run commands in it, and return the run. NEXT brings the next of the pages."""
    script = f"exec > /dev/kmsg 2>&1\n{commands}\necho all done"
    run = host.run("mkdir -p /tmp/bin; ln -sf /lab/pages /tmp/bin/ringlet; cp /lab/probe.ko .\n"
                   f"{variables} CMDLINE=oops=panic PAGES=/job/pages PATH=/tmp/bin:$PATH in-initrd 'sh visit'", seconds,
                   files={"pages": b"".join([page(), *pages]), "visit": script.encode()}, events="none")
    if not re.search("^all done$", run.output, re.M):
        why = re.search(r"^(BUG|Oops|Kernel panic|general protection).*$", run.output, re.M)
        raise Mismatch("the guest did not come to the end of the test", "all done",
                       why.group() + "\n...\n" + run.output[-1500:] if why else run.output[-1500:])
    return run


def healthy(run):
    """The guest's kernel has found nothing wrong."""
    run.lacks("BUG: |WARNING: |Oops|refcount_t|general protection", "a complaint of the guest's kernel")


def parts(run, count):
    """What was printed after each "== page"."""
    found = re.split(r"^== page$\n", run.output, flags=re.M)[1:]
    expect(len(found), count, "pages that the guest has seen")
    return found
