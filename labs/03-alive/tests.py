# SPDX-License-Identifier: GPL-2.0
"""Lab 3: guests that spin or halt, and a host that must not notice."""
import re
import subprocess
import threading

from grader import Mismatch, expect, test

SPIN = "ringlet run -k /guest/tiny/spin -m 2"
REGISTERS = 15
SLOT_BASE, SLOT_BLOCK = 0xFFFF800000000000, 0x8000  # host/switcher.h: where the switcher runs
MASK = (1 << 64) - 1


def for_a_while(command, what, signal="INT"):
    """Start a guest; once it has spoken, or the launcher has complained, do something else; then a signal must end it."""
    return (f"{command} > out 2>&1 & pid=$!; until grep -q . out; do sleep 0.05; done; {what}; kill -{signal} $pid; wait $pid; "
            "echo status $?; cat out")


@test("3.1-ticks")
def ticks(host):
    """An interrupt that ends a guest run reaches the host's handler: time goes on."""
    run = host.run(for_a_while(SPIN, "sleep 1"))
    interrupts = [event for event in run.find("exit: ") if event["vector"] >= 32 and event["ring"] == 1]
    if len(interrupts) < 20:
        raise Mismatch("the guest's run is ended by the clock's interrupts, a hundred a second",
                       "more than 20 exits by interrupts in a second", f"{len(interrupts)}")
    run.has("^spinning")
    run.no_warnings()


@test("3.1-registers")
def registers(host):
    """reraise() leaves the host's stack and registers, and the frame of the guest, as they were."""
    seed = host.random.getrandbits(40)
    run = host.check(f"ringlet run -k /lab/patterns -m 2 -p {seed}", seconds=30)
    values = [seed * (2 * i + 1) & MASK for i in range(REGISTERS)]
    run.has(f"^sum {sum(value * (i + 1) for i, value in enumerate(values)) & MASK}$", "the guest finds its registers as it left them")
    run.no_warnings()


COUNT = "awk '/NMI:/ { for (i = 2; $i + 0 == $i; i++) n += $i } END { print n }' /proc/interrupts"


def nmi_anywhere(machine):
    machine.monitor("nmi")


def nmi_in_switcher(host):
    """An NMI for a machine that gdb has stopped two instructions before the guest's page tables are in force."""
    names = subprocess.run(["nm", host.session.build["modules/ringlet.ko"]], capture_output=True, text=True, check=True).stdout
    place = SLOT_BASE + int(re.search(r"^(\w+) R switcher_world$", names, re.M).group(1), 16) - 6
    stops = [f"hbreak *{place + block * SLOT_BLOCK}" for block in range(4)]

    def give(machine):
        machine.monitor(f"gdbserver unix:{machine.folder}/gdb,server=on,wait=off")
        words = [f"target remote {machine.folder}/gdb", *stops, "continue", "monitor nmi", "delete", "detach"]
        subprocess.run(["gdb", "-nx", "-batch", *[word for text in words for word in ("-ex", text)]], timeout=30,
                       capture_output=True, check=True)
    return give


def nmis(host, command, count, give=nmi_anywhere):
    """Give the machine NMIs while a guest runs, each when the host has counted the one before. Returns the run."""
    host.load()
    host.check("echo 0 > /proc/sys/kernel/unknown_nmi_panic; dmesg -n 1")
    done = threading.Event()
    sent = []

    def counted():
        """The last count that the host has put on its console."""
        return int((re.findall(r"nmis (\d+)", host.session.console()) or [-1])[-1])

    def sender():
        first = -1
        while first < 0 and not done.wait(0.02):
            first = counted()
        while len(sent) < count and not done.is_set():
            give(host.session.machine)
            sent.append(first)
            while counted() < first + len(sent) and not done.wait(0.02):
                pass

    thread = threading.Thread(target=sender)
    thread.start()
    try:
        run = host.run(for_a_while(command, f"first=$({COUNT}); quiet=0; while n=$({COUNT}); [ $n -lt $((first + {count})) ] && "
                                   "[ $quiet -lt 100 ]; do [ $n = \"$last\" ] && quiet=$((quiet + 1)) || { last=$n quiet=0; "
                                   "echo nmis $n > /dev/ttyS0; }; sleep 0.02; done; echo seen $((n - first))"), seconds=60)
    finally:
        done.set()
        thread.join()
    got = int(run.has("^seen ([0-9]+)$").group(1))
    expect(f"{got} of {len(sent)}", f"{count} of {count}", "NMIs that the host has counted in /proc/interrupts, of those it was given")
    return run


@test("3.2-nmi", boot="nmi")
def nmi(host):
    """An NMI that ended the guest's run is raised for the host."""
    run = nmis(host, SPIN, 25)
    if not [event for event in run.find("exit: ") if event["vector"] == 2]:
        raise Mismatch("an NMI ends the guest's run", "an exit with vector 2", "none")


@test("3.2-noted", boot="nmi")
def noted(host):
    """An NMI that came in the middle of the switch was noted, and is raised for the host, too."""
    run = nmis(host, "ringlet run -k /lab/busy -m 2", 5, nmi_in_switcher(host))
    expect(run.find("exit: .*vector=2 "), [], "exits by an NMI")


@test("3.3-others")
def others(host):
    """need_resched() ends the atomic loop: a process that shares the CPU gets its part of it."""
    run = host.run(for_a_while(SPIN, "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo counted $i"), seconds=30)
    run.has("^counted 20000")


@test("3.3-signal")
def signal(host):
    """A pending signal ends RUN, and so the guest."""
    run = host.run(for_a_while(SPIN, ":", signal="TERM"))
    run.has("^status 130$", "the launcher ends as one does that a signal ended")
    run.has("^spinning")


@test("3.4-sleep")
def sleep(host):
    """A halted guest is not entered again and again."""
    run = host.run(for_a_while("ringlet run -k /lab/halt -m 2", "sleep 1"))
    run.has("^halting")
    run.lacks("awake again", "nothing wakes a guest for which nothing is pending")
    halt, *after = [n for n, event in enumerate(run.events) if event.name == "hypercall" and event["number"] == 2] or [None]
    if halt is None:
        raise Mismatch("the guest halts", "the hypercall halt", "none")
    entered = [event for event in run.events[halt:] if event.name == "exit"]
    if len(entered) > 5:
        raise Mismatch("the guest sleeps", "at most a few exits after the halt", f"{len(entered)} in a second")


@test("3.4-signal")
def halted_signal(host):
    """A signal wakes the thread that sleeps for its guest."""
    run = host.run(for_a_while("ringlet run -k /lab/halt -m 2", ":", signal="TERM"))
    run.has("^status 130$", "the launcher ends as one does that a signal ended")
