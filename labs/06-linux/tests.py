# SPDX-License-Identifier: GPL-2.0
"""Lab 6. A guest's own lines say how far it comes; once programs run, within.ko (extra/) looks at the platform from inside."""
import re

from grader import Mismatch, expect, test

HALT, IRET_USER, SET_TIMER, TIMER = 2, 14, 9, 48
INIT = "echo init runs as $$"


def boot(host, command=INIT, cmdline="", events="none"):
    """Boot a guest, run a command as its init does, wait for its end."""
    run = host.run(f"cp /lab/within.ko /lab/state .; CMDLINE='{cmdline}' in-initrd '{command}'", 60, events=events)
    run.lacks("WARNING: |BUG: |Oops", "a complaint of the guest's kernel")
    run.output = re.sub(r"^\[ *[0-9.]+\] ", "", run.output, flags=re.M)  # until the kernel has read printk.time=0
    return run


def within(host, what, command="true", events="none"):
    run = boot(host, f"insmod ./within.ko what={what} || echo it cannot be loaded; {command}; echo all done", events=events)
    run.has("^all done", "the guest did not come to the end of the test")
    return run


def exercise_at_end(run):
    """The exercise that ended the run, as a number; 9 if none did."""
    found = re.search(r"exercise 6\.(\d) is not done", run.output)
    return int(found.group(1)) if found else 9


def comes_behind(run, exercise):
    """The run must have been ended by a later exercise, or by nothing."""
    if exercise_at_end(run) <= exercise:
        raise Mismatch(f"exercise 6.{exercise} is not done: see README.md#6.{exercise}")
    run.lacks("guest killed: ", "the guest was killed by the host")
    return run


@test("6.1-early")
def early(host):
    """Guards the first returns to ring 1: the kernel has page faults before it can print a line."""
    run = comes_behind(boot(host, events="inject,hypercall"), 1)
    expect(len(run.events) > 3, True, "events behind the first page fault")


@test("6.2-early")
def locks(host):
    """Guards the ops that every lock uses: the kernel comes to its first line."""
    comes_behind(boot(host), 2)


@test("6.3-lines")
def lines(host):
    """Guards the console: every line, also one that is longer than its buffer, and nothing twice."""
    words = " ".join(f"w{n}={host.random.getrandbits(64):016x}" for n in range(host.random.randrange(16, 22)))
    run = comes_behind(boot(host, cmdline=f"loglevel=7 {words}"), 3)
    run.has("^Linux version 6", "the kernel's first line")
    expect(re.findall("^Command line: .*$", run.output, re.M)[:1], [f"Command line: {command_line(words)}"], "a long line")
    for text in "^Memory: .*K/.*K available", "^pcpu-alloc: |^Built 1 zonelists", "^tsc: Detected":
        expect(len(re.findall(text, run.output, re.M)), 1, f"lines with {text}")


def command_line(words):
    return f"noreplace-smp printk.devkmsg=on printk.time=0 loglevel=5 console=hvc0 loglevel=7 {words}"


def timers(run):
    """What SET_TIMER was asked for."""
    return [event["args"][0] for event in run.find(f"hypercall: .*number={SET_TIMER} ")]


@test("6.4-ticks")
def ticks(host):
    """Guards the timer as a whole: it is asked for, it comes, and leads to more."""
    run = comes_behind(boot(host, "sleep 0.2", events="hypercall,inject"), 4)
    asked, came = len(list(filter(None, timers(run)))), len(run.find(f"inject: .*vector={TIMER} "))
    if came < 10 or asked < 10:
        raise Mismatch("timer interrupts while the guest boots", "10 or more, asked for and delivered",
                       f"{asked} asked for, {came} delivered")


@test("6.4-when")
def when(host):
    """Guards set_next_event() and the device's unit: with a clock of 100 Hz a busy guest asks for the next tick, at most 10 ms away."""
    run = boot(host, "i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done", events="hypercall")
    calls = [event for event in run.find("hypercall: ") if event["number"] in (SET_TIMER, HALT)]
    busy = [call["args"][0] for call, following in zip(calls, calls[1:]) if (call["number"], following["number"]) == (SET_TIMER, SET_TIMER)]
    near = [ns for ns in busy if 0 < ns <= 10_000_000]
    far = [ns for ns in busy if ns > 1_000_000]
    if len(busy) < 8 or len(near) <= len(busy) / 2 or len(far) <= len(busy) / 2:
        raise Mismatch("nanoseconds that the host is asked for by a guest that is busy", "up to 10,000,000, the next tick",
                       " ".join(map(str, busy[-60:])))


@test("6.4-stop")
def stop(host):
    """Guards shut_down(): Linux takes the timer over as one that is stopped."""
    run = boot(host, "true", events="hypercall")
    expect(0 in timers(run), True, "a hypercall SET_TIMER with 0")


@test("6.5-init")
def init(host):
    """Guards the return to ring 3: init runs, forks, and hears of its children."""
    run = comes_behind(boot(host, "for i in 1 2 3 4 5; do (exit $i); echo child $?; done; " + INIT), 5)
    run.has("^init runs as 1$|^init runs as [0-9]+$", "a line of init")
    expect(re.findall("^child ([0-9])$", run.output, re.M), list("12345"), "exit statuses of children")


@test("6.1-pending")
def kernel_pending(host):
    """Guards the look at pending on the way back to ring 1; and that the flag is what it was before the exception."""
    run = within(host, "kernel")
    run.has("^within: kernel: flag 0x200, pending 0; off: flag 0x0$", "the flag, and what became of an interrupt that came in an exception")


@test("6.2-flag")
def flag(host):
    """Guards the three ops' results and their calling convention."""
    run = within(host, "flag")
    expect(re.findall("^within: ((?:disable|enable|save|IF).*)$", run.output, re.M),
           ["disable: flag 0x0, registers kept", "disable: flag 0x0, registers kept", "save off: flag 0x0, registers kept",
            "enable: flag 0x200, registers kept", "save on: flag 0x200, registers kept", "enable: flag 0x200, registers kept",
            "IF as saved: 0x0, 0x200"], "what the ops did")


@test("6.2-order")
def order(host):
    """Guards the order in irq_enable(): an interrupt before any of its instructions is seen by somebody."""
    run = within(host, "order")
    tried, lost = map(int, run.has("^within: order: tried ([0-9]+), lost ([0-9]+)$").groups())
    expect(lost, 0, f"interrupts lost, of {tried} that came in front of an instruction of ringlet_irq_enable")
    expect(tried >= 2, True, "instructions of ringlet_irq_enable that found the flag off")


@test("6.5-pending")
def user_pending(host):
    """Guards the look at pending on the way to ring 3, and the state that the host then restores."""
    count = host.random.randrange(20, 60)
    run = within(host, "user", f"./state trap {count}", events="hypercall")
    run.has(f"^state: {count} times, 0 wrong$", "registers after an exception with an interrupt in it")
    looked = len(run.find(f"hypercall: .*number={IRET_USER} "))
    if looked < count // 2:
        raise Mismatch("interrupts that came in the kernel and were taken on the way to ring 3", f"about {count}", str(looked))


@test("6.5-state")
def user_state(host):
    """Guards registers, flags and GS base of a program across page faults."""
    count = host.random.randrange(100, 300)
    run = boot(host, f"./state page {count}")
    run.has(f"^state: {count} times, 0 wrong$", "registers after a page fault")
