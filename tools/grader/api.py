# SPDX-License-Identifier: GPL-2.0
"""What a lab's tests.py works with: @test, expect, and the Host that each test function gets."""
import importlib.util
import random
import re
import threading
from dataclasses import dataclass, field

specs = []  # of the tests.py being read
collecting = threading.Lock()
LINES = 15  # of an output that a failure shows


@dataclass
class Spec:
    """A test function and the host that it wants."""
    id: str
    function: object
    cpus: int
    mem: int
    boot: str
    module: bool
    ours: str
    file: str = ""

    @property
    def name(self):
        return self.function.__name__

    @property
    def guards(self):
        return (self.function.__doc__ or "").strip()

    @property
    def machine(self):
        return (self.boot, self.cpus, self.mem, self.ours)


def test(id, cpus=1, mem=512, boot="", module=True, ours=""):
    """Make a function the test id. boot: more words for the kernel's command line; module: load ringlet.ko first; ours: words of
    launcher, guest, module: those halves are our solution's there, not the submission's."""
    def note(function):
        specs.append(Spec(id, function, cpus, mem, boot, module, ours))
        return function
    return note


def collect(path):
    """Run a tests.py and return its Specs. Labs are graded in threads, too."""
    with collecting:
        specs.clear()
        module = importlib.util.spec_from_file_location("tests", path)
        module.loader.exec_module(importlib.util.module_from_spec(module))
        found = specs.copy()
    for spec in found:
        spec.file = str(path)
    return found


class Mismatch(Exception):
    """A test's verdict: something came that was not expected."""

    def __init__(self, message, expected="", got=""):
        super().__init__(message)
        self.message, self.expected, self.got = message, str(expected), str(got)


def expect(got, expected, what):
    """Both must be equal."""
    if got != expected:
        raise Mismatch(what, *(value if isinstance(value, str) else repr(value) for value in (expected, got)))


def tail(text, lines=LINES):
    kept = text.rstrip().splitlines()
    return "\n".join(["..."] * (len(kept) > lines) + kept[-lines:])


@dataclass
class Event:
    """An event of the module's trace, "exit: vcpu=0 vector=14"; event["vector"] is 14. args of a hypercall are a list."""
    name: str    # without ringlet_
    text: str    # behind the name
    task: str
    cpu: int

    def __str__(self):
        return f"{self.name}: {self.text}"

    def __getitem__(self, key):
        value = re.search(rf"(?:^| ){re.escape(key)}=(\S*)", self.text)
        if not value:
            raise Mismatch(f"the event has no {key}", f"{key}=...", str(self))
        numbers = [int(word, 0) for word in value.group(1).split(",")]
        return numbers if len(numbers) > 1 else numbers[0]


def parse_events(text):
    """The Events of a trace file's text, and how many older ones the ring had no room for."""
    line = re.compile(r"^ *(.+?)-\d+ +\[(\d+)\] \S+ +[\d.]+: ringlet_(\w+): (.*)$", re.M)
    events = [Event(name, words, task, int(cpu)) for task, cpu, name, words in line.findall(text)]
    counted = re.search(r"entries-in-buffer/entries-written: (\d+)/(\d+)", text)
    return events, int(counted.group(2)) - int(counted.group(1)) if counted else 0


@dataclass
class Run:
    """A command that ran in the host. The methods raise Mismatch."""
    command: str
    status: int
    output: str
    events: list = field(default_factory=list)
    kernel_log: str = ""
    lost: int = 0           # events
    truncated: bool = False  # more output than is kept

    def has(self, pattern, what="", where="output"):
        """The output (or where="kernel_log") has a match; returns it. ^ and $ match at lines."""
        text = getattr(self, where)
        found = re.search(pattern, text, re.M)
        if not found:
            raise Mismatch(what or f"the {where.replace('_', ' ')} lacks a line", f"/{pattern}/", tail(text) or "(nothing)")
        return found

    def lacks(self, pattern, what="", where="output"):
        text = getattr(self, where)
        found = re.search(f"^.*(?:{pattern}).*$", text, re.M)
        if found:
            raise Mismatch(what or f"the {where.replace('_', ' ')} has a line that must not be there", f"no /{pattern}/",
                           found.group())

    def find(self, pattern):
        """Events with a match, such as run.find("exit: .*vector=14")."""
        return [event for event in self.events if re.search(pattern, str(event))]

    def order(self, *patterns, what="these events in this order"):
        """For each pattern an event, each after the one before; returns them."""
        found, at = [], 0
        for pattern in patterns:
            start = at
            while at < len(self.events) and not re.search(pattern, str(self.events[at])):
                at += 1
            if at == len(self.events):
                wanted = [f"{'ok ' if n < len(found) else '-> ' if n == len(found) else '   '}{text}"
                          for n, text in enumerate(patterns)]
                after = "\n".join(map(str, self.events[start:start + LINES])) or "(no event)"
                raise Mismatch(what, "\n".join(wanted), (f"after {found[-1]}:\n" if found else "") + after)
            found.append(self.events[at])
            at += 1
        return found

    def no_warnings(self):
        """The host's kernel has found nothing wrong."""
        self.lacks(r"WARNING: |BUG: |INFO: .* blocked|refcount_t:", "a complaint of the host's kernel", "kernel_log")


class Host:
    """The host as one test sees it: /job and /tmp empty, the module freshly loaded before the first run."""

    def __init__(self, session, spec, seed):
        self.session, self.spec = session, spec
        self.random = random.Random(f"{seed}:{spec.id}")
        self.runs = []
        self.loaded = not spec.module

    def run(self, command, seconds=15, files=None, events="*"):
        """Run a shell command in /job, where files are put first. Longer than seconds (of a quiet machine), and the test
        fails. events: which of the trace's, as names without ringlet_ ("exit,inject"); a guest's whole boot overflows
        the buffer."""
        if not self.loaded:
            self.load()
        for name, data in (files or {}).items():
            self.session.put(name, data)
        run = self.session.run(command, seconds, events)
        self.runs.append(run)
        return run

    def check(self, command, seconds=15, **options):
        """The same, and it must end with 0."""
        run = self.run(command, seconds, **options)
        if run.status:
            raise Mismatch(f"`{command}` failed", "exit status 0", f"exit status {run.status}\n{tail(run.output)}")
        return run

    def in_guest(self, command, seconds=60, cpus=1, mem=256, options="", events="hypercall"):
        """Run a shell command in a guest (tools/rootfs/host/bin/in-guest)."""
        quoted = "'" + command.replace("'", "'\\''") + "'"
        return self.run(f"GUEST_CPUS={cpus} GUEST_MEM={mem} in-guest {quoted} {options}", seconds, events=events)

    def load(self, parameters="", seconds=10):
        """Load ringlet.ko, which comes before the first run anyway; with parameters only if called before it."""
        self.loaded = True
        run = self.run(f"insmod /modules/ringlet.ko {parameters}", seconds)
        if run.status:
            raise Mismatch("ringlet.ko could not be loaded", "insmod succeeds", tail(run.output + run.kernel_log))

    def unload(self):
        self.loaded = True  # by the test's own will
        self.check("rmmod ringlet")

    def counters(self):
        """The module's counters, {name: count}."""
        lines = self.check("cat /sys/kernel/debug/ringlet/exits", events="").output.split("\n")
        return {name: int(count) for name, count in (line.split() for line in lines if line.strip())}
