# SPDX-License-Identifier: GPL-2.0
"""Lab 5: a guest plays scripts (extra/guest.c): it provokes exceptions, has interrupts raised by a module (extra/poke.c), sets
its timer, and says what its handlers found."""
import struct

from grader import Mismatch, expect, test

INTERRUPT_GATE, TRAP_GATE = 0x8e00, 0x8f00
LIMIT = 16 * 256 - 1
KERNEL_CS, KERNEL_DS = 0x10, 0x18       # Linux's, which the frame shows
TIMER = 0x30
RESCHEDULE = 253                        # the host's IPI that a kick is
PAGE_SIZE = 4096
STACK = range(0x30000, 0x90000)         # free memory
UD, DIVIDE, LOAD, STORE, SELECTOR = range(5)
SET_TIMER = 9
NOW, LATER, WHILE = 200, 201, 202       # extra/poke.c


class Script:
    """Operations of extra/guest.c."""

    END, IDT, GATE, PROVOKE, RAISE, IF, WAIT, SPIN, SHOW, HYPERCALL, PAGING, STORM = range(12)

    def __init__(self, gates=INTERRUPT_GATE, limit=LIMIT, paging=False):
        self.ops = []
        if paging:
            self.op(self.PAGING)
        self.op(self.IDT, gates, limit)

    def op(self, *words):
        self.ops.append((*words, 0, 0, 0)[:4])

    def enable(self, on=True):
        self.op(self.IF, 0x200 if on else 0)

    def timer(self, ns):
        self.op(self.HYPERCALL, SET_TIMER, ns)

    def bytes(self):
        return b"".join(struct.pack("<4Q", *(word & (1 << 64) - 1 for word in op)) for op in self.ops)


def play(host, seconds=15, events="*", **scripts):
    """Play scripts; {name: what the guest printed, and how it ended}, and the run."""
    run = host.check("/lab/play " + " ".join(scripts), seconds, events=events,
                     files={name: script.bytes() for name, script in scripts.items()})
    parts = run.output.split("-- ")
    said = {name.split("\n")[0]: name.split("\n", 1)[1] + end for name, end in zip(parts[1::2], parts[2::2])}
    expect(sorted(said), sorted(scripts), "the scripts that were played")
    return said, run


def played(said):
    if not said.endswith("the script is played\nit ended with 0\n"):
        raise Mismatch("the guest comes to its end", "the script is played\nit ended with 0", said)


def killed(said, words):
    if "guest killed: " not in said or words not in said:
        raise Mismatch("the guest is ended, with the reason", f"guest killed: ... {words}", said)


def values(said, name):
    """The numbers that the guest printed behind a name."""
    return [int(line[len(name) + 1:]) for line in said.splitlines() if line.startswith(name + " ")]


def frames(said, *wanted):
    """The frames that handlers found, {name: number} each."""
    for name in wanted[0]:
        expect(values(said, name), [frame[name] for frame in wanted], f"{name} in the handlers' frames")


def vectors(random, count):
    return random.sample([vector for vector in range(0x31, 0xf0) if vector != TIMER], count)


def stack(random):
    """Somewhere, aligned to nothing."""
    return random.choice(STACK) & ~7 | random.randrange(8)


# 5.1 The timer


@test("5.1-once")
def once(host):
    """Guards the timer: one interrupt for one setting, and a new setting replaces the old."""
    script = Script()
    script.timer(3600 * 10 ** 9)
    script.timer(host.random.randrange(100_000, 2_000_000))
    script.op(Script.SPIN, 400 << 20)
    said, run = play(host, script=script)
    played(said["script"])
    expect(len(run.find(f"interrupt: .*vector={TIMER}")), 1, "interrupts of the timer")


@test("5.1-stop")
def stop(host):
    """Guards what does not come: a timer that was stopped, one that lies centuries ahead."""
    script = Script()
    # Long enough to be stopped in time, short enough to be past as a time of the clock.
    script.timer(host.random.randrange(500_000_000, 600_000_000))
    script.op(Script.SPIN, 20 << 20)
    script.timer(0)
    script.op(Script.SPIN, 2400 << 20)
    script.timer(-host.random.randrange(1, 1000))
    script.op(Script.SPIN, 20 << 20)
    said, run = play(host, script=script)
    played(said["script"])
    expect(len(run.find("interrupt: ")), 0, "interrupts of a timer that was stopped, and of one 584 years ahead")
    run.no_warnings()


# 5.2 The gate


@test("5.2-handler")
def handler(host):
    """Guards the choice of the handler: each vector its own, up to the last byte of the table."""
    kinds = [(UD, 6), (DIVIDE, 0), (SELECTOR, 13)]
    host.random.shuffle(kinds)
    scripts = {}
    for n, (what, vector) in enumerate(kinds):
        # The table ends behind the gate, or one byte too early.
        fits = scripts[f"fits{n}"] = Script(limit=16 * vector + 15)
        short = scripts[f"short{n}"] = Script(limit=16 * vector + 14)
        for script in fits, short:
            script.op(Script.PROVOKE, what, stack(host.random), 0x50)
    said, run = play(host, **scripts)
    for n, (what, vector) in enumerate(kinds):
        played(said[f"fits{n}"])
        expect(values(said[f"fits{n}"], "vector"), [vector], "the handlers that ran")
        killed(said[f"short{n}"], "no handler for it")
    run.no_warnings()


@test("5.2-bad")
def bad_gate(host):
    """Guards the guest's table: absent, not canonical, or not in memory at all, it ends the guest and nothing else."""
    scripts = {"absent": Script(), "far": Script(), "nowhere": Script(limit=0)}
    scripts["absent"].op(Script.GATE, 6, 0x100000 & 0xffff | 0x81 << 16 | 0x0e00 << 32 | 0x10 << 48, 0)
    high = host.random.randrange(1, 0x8000) << 16       # bits 48 to 62
    scripts["far"].op(Script.GATE, 6, 0x81 << 16 | 0x8e00 << 32 | 0x10 << 48, high)
    scripts["nowhere"].op(Script.HYPERCALL, 7, host.random.randrange(2, 1 << 15) << 21, LIMIT)
    for script in scripts.values():
        script.op(Script.PROVOKE, UD, stack(host.random))
    said, run = play(host, **scripts)
    for text in said.values():
        killed(text, "no handler for it")
    run.no_warnings()


# 5.3 The frame


@test("5.3-frame")
def frame(host):
    """Guards what the handler finds on its stack, and where: alignment, selectors, the virtual IF."""
    script = Script()
    wanted = []
    for _ in range(8):
        rsp, on = stack(host.random), host.random.randrange(2)
        script.enable(on)
        script.op(Script.PROVOKE, UD, rsp)
        wanted.append({"vector": 6, "rip": 0, "cs": KERNEL_CS, "ss": KERNEL_DS, "rsp": rsp, "top": rsp & ~15,
                       "rflags.if": 0x200 * on, "if": 0})
    said, _ = play(host, script=script)
    played(said["script"])
    frames(said["script"], *wanted)


@test("5.3-error")
def error_code(host):
    """Guards the error code: there for the exceptions that have one, and only for them; CR2."""
    script = Script(paging=True)
    gva = host.random.randrange(1 << 20, 1 << 30) << 12 | host.random.randrange(4088)
    selector = host.random.randrange(20, 60) << 3
    rsp = stack(host.random) & ~15 | host.random.randrange(1, 16)
    wanted = [{"vector": 14, "error": 0, "rip": 32}, {"vector": 14, "error": 2, "rip": 48},
              {"vector": 13, "error": selector, "rip": 64}, {"vector": 6, "error": 0, "rip": 0}]
    for what, argument in (LOAD, gva), (STORE, gva ^ 1 << 30), (SELECTOR, selector), (UD, 0):
        script.op(Script.PROVOKE, what, rsp, argument)
    said, _ = play(host, script=script)
    played(said["script"])
    frames(said["script"], *[{**row, "rsp": rsp, "top": rsp & ~15} for row in wanted])
    expect(values(said["script"], "cr2"), [gva, gva ^ 1 << 30], "CR2 of the page faults")


@test("5.3-stack")
def no_stack(host):
    """Guards a guest without a stack: it ends, with the reason; a frame across two pages is whole."""
    across = Script(paging=True)
    page = host.random.choice(range(STACK.start, STACK.stop, PAGE_SIZE))
    across.op(Script.PROVOKE, UD, page + 16)
    scripts = {"across": across, "outside": Script(), "absent": Script(paging=True)}
    scripts["outside"].op(Script.PROVOKE, UD, host.random.randrange(0x300, 0x10000) << 12)
    scripts["absent"].op(Script.PROVOKE, UD, host.random.randrange(0x300, 0x10000) << 12)
    said, run = play(host, **scripts)
    played(said["across"])
    frames(said["across"], {"vector": 6, "rsp": page + 16, "cs": KERNEL_CS, "ss": KERNEL_DS})
    for name in "outside", "absent":
        killed(said[name], "no stack at")
    run.no_warnings()


@test("5.3-gate")
def gate_type(host):
    """Guards the type of the gate: an interrupt gate turns the virtual IF off, a trap gate leaves it as it was."""
    scripts = {}
    for gates in INTERRUPT_GATE, TRAP_GATE:
        for on in 0, 1:
            script = scripts[f"{'interrupt' if gates == INTERRUPT_GATE else 'trap'}{on}"] = Script(gates)
            script.enable(on)
            script.op(Script.PROVOKE, UD, stack(host.random))
    said, _ = play(host, **scripts)
    wanted = {name: [0x200 if name == "trap1" else 0] for name in scripts}
    expect({name: values(text, "if") for name, text in said.items()}, wanted, "the virtual IF in the handler")


# 5.4 Pending interrupts


@test("5.4-masked")
def masked(host):
    """Guards the virtual IF: with interrupts off none comes in, the guest is told, and they come when it is on."""
    chosen = vectors(host.random, 3)
    script = Script()
    script.op(Script.SHOW)
    for vector in chosen:
        script.op(Script.RAISE, NOW, vector)
    script.op(Script.SHOW)
    script.enable()
    script.op(Script.SHOW)
    said, run = play(host, script=script)
    said = said["script"]
    played(said)
    expect(values(said, "pending"), [0, 1, 0], "@pending before the interrupts, while they wait, and afterwards")
    expect(values(said, "in all"), [0, 0, 3], "interrupts handled at these times")
    expect(sorted(values(said, "handled")), sorted(chosen), "their vectors")
    expect(values(said, "then pending"), [1, 1, 0], "@pending as each handler finds it")


@test("5.4-order")
def priority(host):
    """Guards the order: the highest vector first, each once."""
    chosen = vectors(host.random, 6)
    script = Script()
    for vector in [*chosen, chosen[0]]:         # one twice: it is one bit
        script.op(Script.RAISE, NOW, vector)
    script.enable()
    script.op(Script.SHOW)
    said, _ = play(host, script=script)
    said = said["script"]
    played(said)
    expect(values(said, "handled"), sorted(chosen, reverse=True), "the vectors, as they were handled")
    expect(values(said, "in all"), [6], "how many were handled")


@test("5.4-on")
def at_once(host):
    """Guards an interrupt that nothing holds back: it comes in on the way back from the exit."""
    chosen = vectors(host.random, 4)
    script = Script()
    script.enable()
    for vector in chosen:
        script.op(Script.RAISE, NOW, vector)
    script.op(Script.SHOW)
    said, run = play(host, script=script)
    played(said["script"])
    expect(values(said["script"], "handled"), chosen, "the vectors, as they were handled")
    expect(len(run.find("hypercall: .*number=8 ")), 0, "IRQ_WINDOW hypercalls, of which none was needed")


@test("5.4-storm")
def storm(host):
    """Guards against losing one in a thousand: every timer's interrupt comes, whether the guest computes or sleeps."""
    script = Script()
    script.op(Script.STORM, 2000, host.random.randrange(20_000, 60_000))
    script.op(Script.SHOW)
    said, run = play(host, 20, "interrupt,inject", script=script)
    played(said["script"])
    expect(values(said["script"], "in all"), [2000], "interrupts handled, of 2000 timers")
    if not run.lost:
        expect((len(run.find("interrupt: ")), len(run.find("inject: "))), (2000, 2000), "interrupts raised and injected")


# 5.5 The kick


def next_exit(run, event):
    """The exit that follows an event."""
    at = next(n for n, other in enumerate(run.events) if other is event)
    found = next((other for other in run.events[at:] if other.name == "exit"), None)
    if not found:
        raise Mismatch("an exit follows", f"an exit after {event}", "none")
    return found


@test("5.5-kick", cpus=2)
def kick(host):
    """Guards a guest that computes: an interrupt from another CPU calls it out at once, not at the next tick."""
    chosen = vectors(host.random, 16)
    script = Script()
    script.enable()
    for n, vector in enumerate(chosen, 1):
        script.op(Script.RAISE, LATER, vector, 2000 + host.random.randrange(3000))
        script.op(Script.WAIT, n)
    said, run = play(host, script=script)
    played(said["script"])
    found = [next_exit(run, event)["vector"] & 0xff for event in run.find("interrupt: ")]
    expect(len(found), len(chosen), "interrupts that were raised")
    # On a busy machine the guest may have been out already; without a kick all come with the host's tick.
    if found.count(RESCHEDULE) < 4:
        raise Mismatch("an interrupt for a running guest ends its run (vector 253, the kick)",
                       f"exits by vector {RESCHEDULE} after most of these interrupts", found)


@test("5.5-race", cpus=2)
def race(host):
    """Guards the moment between the last look at the pending interrupts and the entry."""
    script = Script()
    script.enable()
    chosen = vectors(host.random, 24)
    for n, (first, second) in enumerate(zip(chosen[::2], chosen[1::2]), 1):
        script.op(Script.RAISE, WHILE, second, first)
        script.op(Script.RAISE, NOW, first)
        script.op(Script.WAIT, 2 * n)
    said, run = play(host, script=script)
    played(said["script"])
    for first, second in zip(chosen[::2], chosen[1::2]):
        event = run.order(f"inject: .*vector={first} ", f"interrupt: .*vector={second}$",
                          what="one interrupt comes in, and at that moment another CPU raises a second")[1]
        found = next_exit(run, event)
        # The kick is there already, so the guest comes back from its handler's first instruction. (A tick of the host may
        # have been there, too, and come first.) Handlers stand at multiples of 16.
        if found["vector"] == 31 or found["rip"] % 16:
            raise Mismatch("an interrupt that comes behind the last look and before the entry must call the guest out at once",
                           f"exit: vcpu=0 vector={RESCHEDULE} at the first instruction of a handler", found)
