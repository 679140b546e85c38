# SPDX-License-Identifier: GPL-2.0
"""Lab 9. The module is asked through eventfds that /lab/fds binds; the guest's half kicks /lab/pages; the launcher's
virtqueue.c is linked into /lab/ring, whose driver adds requests at every moment there is."""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from device_pages import LOAD, NEXT, VERSION_1, healthy, page, record, visit  # noqa: E402
from grader import Mismatch, expect, test  # noqa: E402
from virtqueue_scripts import AVAIL, EVENT_IDX, SEQ_CST, USED, Script, accesses, show  # noqa: E402

NOTIFY, LINE_VECTOR, UNBOUND = 21, 0x31, 77
SIZE = 8
USED_EVENT, AVAIL_EVENT = AVAIL + 4 + 2 * SIZE, USED + 4 + 8 * SIZE


def fds(host, bound, calls, events="notify,interrupt"):
    """Run a guest that makes hypercalls, in a launcher with these eventfds."""
    words = " ".join("h{} {} {} {}".format(*call) for call in calls)
    run = host.check(f"FDS='{bound}' /lab/fds run -k /lab/talk -m 2 -p '{words}'", events=events)
    run.has("^done$", "the guest did not come to its end")
    return run, [int(value) for value in re.findall(r"^= (-?\d+)$", run.output, re.M)]


@test("9.1-signal", ours="launcher guest")
def signals(host):
    """Guards that a notify signals the eventfd of its queue, and no other, and does not leave the kernel."""
    random = host.random
    pairs = random.sample([(device, queue) for device in range(16) for queue in range(16)], 6) + [(15, 15), (0, 0)]
    calls = [(NOTIFY, *random.choice(pairs), 0) for _ in range(40)]
    run, results = fds(host, " ".join(f"n {device} {queue}" for device, queue in pairs), calls)
    run.lacks("^launcher: hypercall", "a notify of a queue that is bound came to the launcher")
    expect(results, [0] * len(calls), "what the guest gets for its notifies")
    counted = {(int(d), int(q)): int(n) for d, q, n in re.findall(r"^signalled (\d+) (\d+) (\d+)$", run.output, re.M)}
    expect(counted, {pair: sum(call[1:3] == pair for call in calls) for pair in pairs}, "how often each eventfd was signalled")


@test("9.1-seen", ours="launcher guest")
def seen(host):
    """Guards that each notify is in the trace, in its order, and counted."""
    random = host.random
    calls = [(NOTIFY, random.randrange(16), random.randrange(16), 0) for _ in range(30)]
    before = host.counters()["notifies"]
    run, _ = fds(host, " ".join(f"n {device} {queue}" for device, queue in {call[1:3] for call in calls[:15]}), calls)
    expect([(event["device"], event["queue"]) for event in run.find("^notify: ")], [call[1:3] for call in calls],
           "the notifies in the trace")
    expect(host.counters()["notifies"] - before, len(calls), "notifies counted")


@test("9.1-unbound", ours="launcher guest")
def unbound(host):
    """Guards what is bound to nothing, or to nothing any more, and numbers that no queue has: the launcher must decide."""
    random = host.random
    odd = [(16, 0), (0, 16), (15, 1 << 32), (1 << 32, 3), (1 << 63, 1 << 63), ((1 << 64) - 1, 3), (3, (1 << 64) - 1),
           (random.randrange(16, 1 << 20), 3), (3, random.randrange(16, 1 << 20)), (7, 8), (5, 5)]
    calls = [(NOTIFY, device, queue, 0) for device, queue in odd]
    run, results = fds(host, "n 3 3 n 15 0 n 5 5 u 5 5", calls)
    expect(results, [UNBOUND] * len(calls), "what the guest gets: the launcher's answer")
    expect(re.findall(r"^launcher: hypercall 21 (\d+) (\d+)$", run.output, re.M), [(str(d), str(q)) for d, q in odd],
           "the notifies that came to the launcher")
    expect(set(re.findall(r"^signalled \d+ \d+ (\d+)$", run.output, re.M)), {"0"}, "how often the eventfds were signalled")
    run.no_warnings()


def raised(run):
    return [event["vector"] - LINE_VECTOR for event in run.find("^interrupt: ") if event["vector"] >= LINE_VECTOR]


@test("9.2-raise", ours="launcher guest")
def raises(host):
    """Guards that a write to a line's eventfd raises this line, once, whatever was written, and takes it out."""
    random = host.random
    lines = random.sample(range(79), 6) + [78]
    writes = [(random.choice(lines), random.randrange(1, 1 << 20)) for _ in range(25)]
    run, _ = fds(host, " ".join([*(f"i {line}" for line in dict.fromkeys(lines)), *(f"w {line} {n}" for line, n in writes)]),
                 [(999, 0, 0, 0)])
    expect(raised(run), [line for line, _ in writes], "the lines that were raised, in their order")
    run.lacks("^left in line", "what was written is still in the eventfd: who polls it is told of it for ever")
    run.no_warnings()


@test("9.2-early", ours="launcher guest")
def early(host):
    """Guards what was written before anybody listened: it is raised when the line is bound. And nothing is raised for nothing."""
    random = host.random
    before, after = random.sample(range(79), 4), random.sample(range(79), 3)
    words = [f"w {line} {random.randrange(1, 99)} i {line}" for line in before] + [f"i {line}" for line in after if line not in before]
    random.shuffle(words)
    run, _ = fds(host, " ".join(words), [(999, 0, 0, 0)])
    expect(raised(run), [int(word.split()[1]) for word in words if word[0] == "w"], "the lines that were raised when they were bound")


@test("9.2-linux", ours="launcher guest")
def with_linux(host):
    """Guards the module as a whole: a Linux guest gets its random bytes with our launcher and our transport; kicks are counted."""
    size = host.random.randrange(17, 300)
    command = f"dd if=/dev/hwrng bs={size} count=20 2>/dev/null | wc -c; grep -c ringlet /proc/interrupts"
    run = host.run(f"in-initrd '{command}'", 60, events="notify")
    run.has(f"^{20 * size}\r?$", f"20 reads of {size} bytes from /dev/hwrng")
    expect(len(run.find("^notify: ")) > 5, True, "kicks in the trace")


def kicked(host, variables=""):
    data = page(record(7, irq=1, features=VERSION_1),
                record(9, irq=2, queues=[(8, 3 + n) for n in range(3)], features=VERSION_1))
    run = visit(host, [data], f"{NEXT}\n{LOAD}\ninsmod /job/probe.ko queues=3 kicks=2", variables)
    healthy(run)
    return run


@test("9.3-kick", ours="launcher module")
def kick(host):
    """Guards that virtqueue_notify() tells the host of device and queue, once, and what the driver hears of it."""
    run = kicked(host)
    expect(re.findall(r"^notify (\d+) (\d+)$", run.output, re.M), [("1", str(n)) for n in (0, 0, 1, 1, 2, 2)], "the kicks")
    expect(re.findall(r"^probe: kick (\d) (\d)$", run.output, re.M), [(str(n), "1") for n in (0, 0, 1, 1, 2, 2)],
           "what the driver hears")


@test("9.3-gone", ours="launcher module")
def gone(host):
    """Guards that a device that is not there any more breaks its queues, and that no other error does."""
    run = kicked(host, "KICKS=-19")
    expect(re.findall(r"^probe: kick (\d) (\d)$", run.output, re.M), [(str(n), "0") for n in (0, 0, 1, 1, 2, 2)],
           "kicks of a device that has gone (-ENODEV)")
    expect(re.findall(r"^notify (\d+) (\d+)$", run.output, re.M), [("1", str(n)) for n in (0, 1, 2)],
           "a queue that is broken is not kicked again")
    run = kicked(host, f"KICKS={host.random.choice([-22, -16, -11])}")
    expect(re.findall(r"^probe: kick (\d) (\d)$", run.output, re.M), [(str(n), "1") for n in (0, 0, 1, 1, 2, 2)],
           "kicks that came to nothing this time")


def ring(script, event_idx, start=0, size=SIZE):
    script.do(f"features {EVENT_IDX if event_idx else 0}")
    script.do(f"queue {size} {start}")


def crossed(event, new, old):
    """Virtio 1.2, 2.7.7.2, in other words: the entry `event` is one of those from old to new - 1."""
    return (event - old) % 65536 < (new - old) % 65536


@test("9.4-event", ours="guest module")
def used_events(host):
    """Guards used_event: an interrupt exactly when the entry that the driver waits for was pushed, also over the wrap."""
    random, script = host.random, Script()
    for _ in range(400):
        old = random.choice([0, 1, 65535, 65530, 32767, random.randrange(65536)])
        new = old + random.randrange(0, 9) & 0xFFFF
        event = old + random.choice([-2, -1, 0, 1, 2, 7, 8, 9, 32768, (new - old - 1) % 65536, (new - old) % 65536]) & 0xFFFF
        ring(script, True)
        script.poke(2, AVAIL, random.choice([0, 1]))     # the flag means nothing here
        script.poke(2, USED_EVENT, event)
        script.do(f"interrupt {old} {new}", f"raised {int(crossed(event, new, old))} signalled {new}",
                  f"used_event {event}, the driver was told of {old}, pushed are {new}")
    script.play(host)


@test("9.4-flags", ours="guest module")
def interrupt_flags(host):
    """Guards the older way: NO_INTERRUPT in the available ring's flags; and that nothing is told twice."""
    random, script = host.random, Script()
    for _ in range(60):
        old = random.choice([0, 65535, random.randrange(65536)])
        new = old + random.randrange(0, 9) & 0xFFFF
        flags = random.choice([0, 1])
        ring(script, False)
        script.poke(2, AVAIL, flags)
        script.poke(2, USED_EVENT, random.choice([old, new, 0]))     # means nothing here
        script.do(f"interrupt {old} {new}", f"raised {int(old != new and not flags)} signalled {new}",
                  f"flags {flags}, the driver was told of {old}, pushed are {new}")
    script.play(host)


@test("9.4-order", ours="guest module")
def interrupt_order(host):
    """Guards the barrier between the used index, which was written before, and the look at what the driver wants."""
    for event_idx, place in (True, USED_EVENT), (False, AVAIL):
        script = Script()
        ring(script, event_idx)
        script.poke(2, USED_EVENT, 0)
        script.do("trace")
        script.do("interrupt 0 1", "raised 1 signalled 1")
        steps = accesses(script.play(host).output)
        looks = [at for at, (what, gpa, *_) in enumerate(steps) if what == "r" and gpa == place]
        if not looks or not any(step[0] == "fence" and step[3] == SEQ_CST for step in steps[:looks[0]]):
            raise Mismatch("the look at what the driver wants may be older than the used index: both sides miss each other",
                           "a full fence, then the look", show(steps))


@test("9.5-told", ours="guest module")
def told(host):
    """Guards what the driver is told: NO_NOTIFY, or an avail_event that says it by itself."""
    random, script = host.random, Script()
    for start in 0, 65535, random.randrange(65536):
        ring(script, False, start)
        script.do("off")
        script.do(f"dump {USED} 2", "dump 0100", "used flags: no kicks")
        script.do("on", "kicks on: 0", "nothing has come")
        script.do(f"dump {USED} 2", "dump 0000", "used flags: kicks, please")
        ring(script, True, start)
        script.do("off")
        script.do(f"dump {USED} 2", "dump 0000", "used flags mean nothing with EVENT_IDX")
        script.do("on", "kicks on: 0", "nothing has come")
        script.do(f"dump {AVAIL_EVENT} 2", f"dump {start.to_bytes(2, 'little').hex()}", "avail_event")
        for event_idx in False, True:
            ring(script, event_idx, start)
            script.poke(2, AVAIL + 2, start + 1 & 0xFFFF)
            script.do("on", "kicks on: 1", "a request has come")
    script.play(host)


@test("9.5-order", ours="guest module")
def kick_order(host):
    """Guards the full fence between "kick me" and the last look at the available index."""
    for event_idx, place in (True, AVAIL_EVENT), (False, USED):
        script = Script()
        ring(script, event_idx)
        script.do("trace")
        script.do("on", "kicks on: 0")
        steps = accesses(script.play(host).output)
        asks = [at for at, (what, gpa, *_) in enumerate(steps) if what == "w" and gpa == place]
        looks = [at for at, (what, gpa, *_) in enumerate(steps) if what == "r" and gpa == AVAIL + 2]
        if not asks or not looks or not any(step[0] == "fence" and step[3] == SEQ_CST for step in steps[asks[-1]:looks[-1]]):
            raise Mismatch("the last look at the available index may come before the driver can see \"kick me\"",
                           "\"kick me\", a full fence, the look", show(steps))


@test("9.5-race", ours="guest module")
def race(host):
    """Guards the lost wake-up: a driver adds a request at each moment there is, and the thread must not sleep over it."""
    script = Script()
    for event_idx in False, True:
        for size, start in (8, 0), (1, 65535), (256, host.random.randrange(65536)):
            script.do(f"features {EVENT_IDX if event_idx else 0}")
            script.do(f"race {size} {start}", "races: 0 lost", f"a request at each moment; EVENT_IDX: {event_idx}")
    script.play(host)


@test("9.5-quiet", ours="guest module")
def quiet(host):
    """Guards against kicks that nobody needs: a thread that is at work finds the next request by itself."""
    script = Script()
    for event_idx in False, True:
        for start in 0, 65535, host.random.randrange(65536):
            ring(script, event_idx, start)
            script.do("busy", "next: 1 kick wanted: 0", f"a request while the thread is at work; EVENT_IDX: {event_idx}")
    script.play(host)
