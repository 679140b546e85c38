# SPDX-License-Identifier: GPL-2.0
"""Lab 10. The driver meets a card that is a module of its own guest (/lab/card.ko), so that each moment is the test's
choice; the launcher's net.c is linked into /lab/net; then each works with our other half, and both together."""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_devices import Script, cut, data, found, in_guest, line, with_module  # noqa: E402
from grader import expect, test  # noqa: E402

HEADER, BUFFER = 12, 1530
MERGE = 1 << 15
FRAME_MAX = HEADER + 14 + 4 + 65535


def card(host, test, lengths=(), ring=64):
    """Let the driver meet the card. Returns what the card says, and the seed of its frames."""
    seed = host.random.randrange(1, 200)
    words = f"test={test} seed={seed} ring={ring}" + (" lengths=" + ",".join(map(str, lengths)) if lengths else "")
    said, = with_module(host, "card", words)
    return said, seed


def pattern(seed, frame, length):
    return bytes((seed + frame * 37 + at * at) & 0xFF for at in range(length))


def kernel_sum(content):
    """sum() of card.c"""
    result = len(content)
    for byte in content:
        result = (result * 31 + byte) & 0xFFFFFFFF
    return result


def frames_arrived(said, seed, wanted, ring):
    """wanted: (frame, length as the card said it) in order; and the driver has given each buffer back, or a new one."""
    got = re.findall(r"^frame (\d+) sum (\d+)$", said, re.M)
    sums = [kernel_sum(pattern(seed, frame, length - HEADER - 14)) for frame, length in wanted]
    expect([int(value) for _, value in got], sums, f"sums over the {len(wanted)} frames that the stack gets, in order")
    count, waiting = found(said, r"received (\d+) waiting (\d+)", "the card's count of frames")
    expect(count, len(wanted), "frames that arrived")
    expect(waiting, ring, "buffers in the receive ring afterwards")


@test("10.1-buffers", ours="launcher")
def buffers(host):
    """Guards the receive ring of a card just found: full, but not of more than 256, each a place of its own for the device."""
    ring = 1 << host.random.randrange(3, 8)
    wanted = [(ring, ring), (512, 256)]
    for (size, count), said in zip(wanted, with_module(host, "card", *(f"test=buffers ring={size}" for size, _ in wanted))):
        got, wrong, kicks = found(said, r"buffers (\d+) wrong (\d+) kicked (\d+)", "what the card found")
        expect(got, count, f"buffers in a ring of {size}")
        expect(wrong, 0, "buffers that overlap, are not of 1530 bytes, or not for the device to write")
        expect(kicks > 0, True, "the device was told")


@test("10.2-frames", ours="launcher")
def frames(host):
    """Guards frames of every size, over the ring's end and often: they arrive as sent, and the ring stays full."""
    lengths = [HEADER + 14, BUFFER, *(host.random.randrange(HEADER + 14, BUFFER + 1) for _ in range(60))]
    said, seed = card(host, "receive", lengths, ring=16)
    frames_arrived(said, seed, list(enumerate(lengths)), 16)


@test("10.2-lengths", ours="launcher")
def lengths_that_lie(host):
    """Guards lengths that cannot be: too short for a header and an address, longer than the buffer. Dropped, counted, survived."""
    random = host.random
    wrong = [0, 1, 12, 25, BUFFER + 1, 4096, 65536, 0x7FFFFFFF, 0xFFFFFFFF, random.randrange(25), random.randrange(BUFFER + 1, 1 << 31)]
    lengths = []
    for bad in random.sample(wrong, len(wrong)) * 2:
        lengths += [bad, random.choice([26, BUFFER, random.randrange(26, BUFFER)])]
    said, seed = card(host, "receive", lengths, ring=16)
    frames_arrived(said, seed, [(n, length) for n, length in enumerate(lengths) if n % 2], 16)
    expect(found(said, r"dropped (\d+) length errors (\d+)", "the card's statistics"), [2 * len(wrong)] * 2,
           "rx_dropped and rx_length_errors")


@test("10.2-interrupts", ours="launcher")
def interrupts(host):
    """Guards interrupts: off from the first until the poll is done, on again then; and a poll of more than its budget."""
    count = host.random.randrange(130, 250)
    said, seed = card(host, "interrupts", [100] * count, ring=256)
    frames_arrived(said, seed, [(n, 100) for n in range(count + 1)], 256)
    before, after = re.findall(r"^interrupts (\d+)$", said, re.M)
    expect(int(before), 1, f"interrupts for {count} frames that came before the poll could run")
    expect(int(after), 2, "interrupts when one more came after it")


@test("10.2-second", ours="launcher")
def second_look(host):
    """Guards a frame that comes when the poll has seen an empty ring and has not yet turned interrupts on."""
    count = host.random.randrange(3, 12)
    said, seed = card(host, "second", [100] * count)
    frames_arrived(said, seed, [(n, 100) for n in range(count)], 64)


def sent(said, seed, lengths):
    got = re.findall(r"^sent length (\d+) zeroes (\d+) writable (\d+) sum (\d+)$", said, re.M)
    wanted = [(HEADER + length, HEADER, 0, kernel_sum(pattern(seed, n, length))) for n, length in enumerate(lengths)]
    got = [tuple(map(int, numbers)) for numbers in got]
    expect(got, wanted, "frames on the wire: length with header, bytes of it that are 0, pieces that are writable, sum")


@test("10.3-frames", ours="launcher")
def transmit(host):
    """Guards frames sent: a header of zeroes, then the frame, told to the device each; memory comes back when it is used."""
    lengths = [host.random.randrange(14, 1515) for _ in range(60)]
    said, seed = card(host, "transmit", lengths, ring=8)
    sent(said, seed, lengths)
    total, kicks, freed = found(said, r"frames (\d+) kicked (\d+) freed (\d+)", "the card's count of frames")
    expect((total, kicks, freed), (len(lengths),) * 3, "frames, kicks, and frames whose memory is free again")


@test("10.3-full", ours="launcher")
def transmit_full(host):
    """Guards a full ring: the stack's queue stops before a frame is lost, wakes when there is room, and the order stays."""
    ring = host.random.choice([4, 8, 16])
    lengths = [host.random.randrange(60, 1515) for _ in range(ring // 2 * 4 + 1)]
    said, seed = card(host, "full", lengths, ring=ring)
    sent(said, seed, lengths)
    rounds = [tuple(map(int, numbers)) for numbers in re.findall(r"^round \d+ took (\d+) stopped (\d+) freed (\d+)$", said, re.M)]
    each = ring // 2
    expect(rounds, [(each, 1, n * each) for n in range(4)] + [(1, 0, 4 * each)],
           f"frames that a ring of {ring} took in each round, whether the queue was stopped then, and frames freed before")
    expect(found(said, r"frames (\d+) freed (\d+) dropped (\d+) stopped (\d+)", "the card's count of frames"),
           [len(lengths), len(lengths), 0, 0], "frames, freed, dropped; and is the queue stopped in the end?")


def traffic(host, name, **options):
    """A guest talks with the host: a file each way, large pings."""
    size = host.random.randrange(300_000, 400_000)
    host.check("tap-up; mkdir -p /srv/cgi-bin; head -c %d /dev/urandom > /srv/file\n"
               "printf '#!/bin/sh\\necho; cat > /tmp/back; sha256sum < /tmp/back\\n' > /srv/cgi-bin/back; chmod +x /srv/cgi-bin/back\n"
               "httpd -p 10.0.0.1:80 -h /srv" % size, events="none")
    run = in_guest(host, "echo driver $(basename $(readlink /sys/class/net/eth0/device/driver))\n"
                   "for try in 1 2 3 4 5 6 7 8 9; do ping -c 1 -s 20000 10.0.0.1 && break; done | grep -o \"20008 bytes from\"\n"
                   "wget -q -O /tmp/file http://10.0.0.1/file && echo got $(sha256sum < /tmp/file)\n"
                   "(printf 'POST /cgi-bin/back HTTP/1.0\\r\\nContent-Length: '; wc -c < /tmp/file; printf '\\r\\n'; cat /tmp/file) > /tmp/post\n"
                   "nc 10.0.0.1 80 < /tmp/post | grep -o '^[0-9a-f]* *-$' | sed 's/^/back /'\n"
                   "cat /sys/class/net/eth0/statistics/*_dropped | sort -u | sed 's/^/dropped /'", "-n tap=tap0", **options)
    wanted = host.check("sha256sum < /srv/file", events="none").output.split()[0]
    run.has(f"^driver {name}$", "the driver of the guest's card")
    run.has("^20008 bytes from", "a ping of 20,000 bytes, which takes 14 frames")
    run.has(f"^got {wanted}", "a file from the host")
    run.has(f"^back {wanted}", "the same file to the host")
    return run


@test("10.3-ours", ours="launcher")
def driver_with_ours(host):
    """The driver alone: under our launcher, a file each way."""
    traffic(host, "ringnet")


def chains(script, random, lists):
    """Give the device requests; each of lists: the lengths of a request's pieces. Returns their heads."""
    heads = random.sample(range(64), len(lists))
    for head, lengths in zip(heads, lists):
        script.do(f"chain {head} / " + " ".join(map(str, lengths)))
    return heads


def filled(length, content):
    """A request's room, as the driver finds it."""
    return line("in", content + b"\xee" * (length - len(content)))


def counted(frame, buffers):
    return frame[:10] + buffers.to_bytes(2, "little") + frame[12:]


def receive(script, random, pieces, frame_length, tap=True, features=0):
    """One frame into one request, whose room is cut into these pieces."""
    seed, room = random.randrange(200), sum(pieces)
    frame = data(frame_length, seed)
    script.do(f"backend {'tap' if tap else 'peer'}")
    script.do(f"features {features}")
    script.do(f"frame *{frame_length}:{seed}")
    head, = chains(script, random, [pieces])
    content = counted(frame if tap else bytes(HEADER) + frame[HEADER:], 1)
    fits = room >= frame_length
    script.do("serve 0", f"fill {head} {frame_length if fits else 0}", "publish", filled(room, content if fits else b""), "served",
              why=f"a frame of {frame_length} bytes, header included, into buffers of {pieces}")


@test("10.4-frames", ours="guest")
def device_frames(host):
    """Guards a frame into one request, cut anywhere: also within the header; one too large is dropped, and one that fits exactly not."""
    random, script = host.random, Script("net")
    for _ in range(12):
        length, more = random.randrange(HEADER + 14, 1530), random.choice([0, 0, 1, random.randrange(1, 500)])
        receive(script, random, cut(random, length + more, random.randrange(1, 12)), length)
    receive(script, random, [11, 1, 1518], 1530)
    receive(script, random, [1] * 40, 40)
    for short in 1, 500, 1529:
        receive(script, random, cut(random, 1530 - short, 1), 1530)
        receive(script, random, [100, 1430], 1530)
    for room in 1, 11:
        receive(script, random, [room], 60)
        receive(script, random, [room], 60, features=MERGE)
    script.play(host)


@test("10.4-merge", ours="guest")
def device_merge(host):
    """Guards MRG_RXBUF: a frame over several requests, all shown at once, with their number in the first one's header."""
    random, script = host.random, Script("net")
    for length, sizes in ((5000, [1530] * 4), (1530, [1530] * 2), (1531, [1530] * 2), (60000, [1530] * 41), (3000, [12] + [600] * 5),
                          (random.randrange(2000, 9000), [random.randrange(12, 900)] + [random.randrange(300, 900) for _ in range(30)])):
        seed = random.randrange(200)
        frame, rooms = data(length, seed), []
        while sum(rooms) < length:
            rooms.append(sizes[len(rooms)])
        content = counted(frame, len(rooms))
        script.do("backend tap")
        script.do(f"features {MERGE}")
        script.do(f"frame *{length}:{seed}")
        lists = [cut(random, room, min(room, random.randrange(1, 4))) for room in rooms]
        heads = chains(script, random, lists)
        parts, at = [], 0
        for room in rooms:
            parts.append(content[at:at + room])
            at += room
        script.do("serve 0", *(f"fill {head} {len(part)}" for head, part in zip(heads, parts)), "publish",
                  *(filled(room, part) for room, part in zip(rooms, parts)), "served",
                  why=f"a frame of {length} bytes over requests of {rooms[:8]}...")
    script.play(host)


@test("10.4-header", ours="guest")
def device_header(host):
    """Guards the header of a frame from another guest: it says nothing; one from the tap is passed on."""
    random, script = host.random, Script("net")
    for tap in True, False, True, False:
        receive(script, random, [1530], random.randrange(HEADER + 14, 1530), tap=tap)
        receive(script, random, [20, 1510], random.randrange(HEADER + 14, 1530), tap=tap, features=MERGE)
    script.play(host)


def transmit_one(script, random, content_words, length, sends, *between):
    head = random.randrange(64)
    script.do(f"chain {head} {content_words} /")
    script.do("serve 1", *between, f"fill {head} 0", "publish", "in 0  0", "served", why=f"a request to send {length} bytes, header included")
    if sends is not None:
        script.do("sent", line("frame", sends), why="what came to the backend")
    else:
        script.do("sent")


@test("10.5-frames", ours="guest")
def device_transmit(host):
    """Guards frames out: whole, whatever their pieces; what is no frame, or larger than any, is not sent; all requests come back."""
    random, script = host.random, Script("net")
    script.do("backend tap")
    for length in (HEADER + 1, 60, 1530, FRAME_MAX, random.randrange(13, 65000), random.randrange(13, 3000)):
        lengths = cut(random, length, random.randrange(1, 9))
        seeds = [random.randrange(200) for _ in lengths]
        words = " ".join(f"*{n}:{seed}" for n, seed in zip(lengths, seeds))
        transmit_one(script, random, words, length, b"".join(data(n, seed) for n, seed in zip(lengths, seeds)))
    for length in (1, 5, HEADER, FRAME_MAX + 1, FRAME_MAX + 20000):
        transmit_one(script, random, f"*{length}:{random.randrange(200)}", length, None)
    script.do("backend gone")
    transmit_one(script, random, "*100:3", 100, None)
    script.play(host)


@test("10.5-full", ours="guest")
def device_clogged(host):
    """Guards a backend that takes no more: the device waits, sends again, and nothing is lost; and leaves when it is told to."""
    random, script = host.random, Script("net")
    for _ in range(3):
        script.do("backend peer")
        script.do("clog")
        length, seed = random.randrange(60, 1500), random.randrange(200)
        transmit_one(script, random, f"*{length}:{seed}", length, data(length, seed), "waits until the backend takes more")
    script.do("clog")
    script.do("leave")
    script.do("chain 9 *100:1 /")
    script.do("serve 1", "waits until the backend takes more", "served", why="the device is told to leave while it waits")
    script.play(host)


@test("10.5-ours", ours="guest")
def device_with_ours(host):
    """The device alone: with the kernel's own driver and its offloads, a file each way."""
    traffic(host, "virtio_net", variables="CMDLINE=drivers=stock")


@test("10.5-together")
def together(host):
    """Your driver and your device."""
    traffic(host, "ringnet")
