# SPDX-License-Identifier: GPL-2.0
"""A booted host with the agent in it: commands go in, Runs come out. What can go wrong is told apart here:

Mismatch      the test fails: a command that does not end, a host that panics or hangs
Failure       the machinery: the host did not boot, the emulator died of itself"""
import re
import secrets
import subprocess
import time
import zlib
from pathlib import Path

from grader import oops
from grader.api import Mismatch, Run, parse_events, tail
from machine import Failure, Machine, terminate

AGENT = Path(__file__).with_name("agent")
KEPT = 1 << 20           # bytes of a command's output; agent: ulimit -f
PART = 64 << 20          # bytes of a part, unpacked
SPEED = 50_000           # bytes a second that the link carries at least
BOOT_SECONDS = 3         # of a quiet machine; a slower one gets as much more time for everything
GRACE = 10               # seconds for the agent's answer when the command's time is over
LIFE = 3600
QUICK = "rcupdate.rcu_expedited=1"  # tests load modules and switch tracing all the time, and that waits for RCU
HALVES = {"launcher": "bin/", "guest": "guest/", "module": "modules/"}


def module_order(kernel, build):
    """The host's modules/order without ringlet.ko: what a student wrote is loaded by the test, not by init."""
    if "modules/order" in build:
        order = Path(build["modules/order"]).read_bytes()
    else:
        with open(kernel / "initramfs", "rb") as archive:
            order = subprocess.run(["cpio", "-i", "--quiet", "--to-stdout", "modules/order"], stdin=archive,
                                   capture_output=True).stdout
    return b"".join(line + b"\n" for line in order.split() if line != b"ringlet.ko")


def with_halves(build, ours):
    """What the host gets of a build: halves that are ours in place of the submission's, and nothing else of ours, or a
    submission could run it instead of its own. Programs with a submission's part in them belong to its launcher."""
    taken = tuple(f"ref/{HALVES[word]}" for word in ours.split())
    own = {path: file for path, file in build.items() if not path.startswith(("ref/", "with/"))}
    if "launcher" not in ours.split():
        own.update({path.removeprefix("with/"): file for path, file in build.items() if path.startswith("with/")})
    return {**own, **{path.removeprefix("ref/"): file for path, file in build.items() if taken and path.startswith(taken)}}


class Session:
    """with Session(...) as session: the host is up. broken: it must not be used any more."""

    def __init__(self, build, machine, kernel="kit", name="grade"):
        boot, cpus, mem, ours = machine
        build = with_halves(build, ours)
        self.module = build.get("modules/ringlet.ko")
        taken = [path for path in build if path.startswith("submission/")]
        # a failed test may have been the work of a kernel module that has damaged the host, too
        self.fragile = "module" not in ours.split() and (not taken or any("/host/" in path for path in taken))
        self.machine = Machine(AGENT.read_text(), kernel=kernel, cpus=cpus, mem=mem, boot=f"{QUICK} {boot}", name=name, seconds=LIFE)
        self.build = build
        self.broken = False
        self.parts = {}
        self.begin = 0  # of the present test's share of the console

    def __enter__(self):
        begin = time.monotonic()
        try:
            order = module_order(self.machine.kernel, self.build)
            self.machine.replace = {**self.build, "modules/order": order}
            self.machine.__enter__()
            self.slow = 1
            self.ask("reset", seconds=BOOT_SECONDS * 10)
        except (OSError, Mismatch, Failure) as error:
            self.machine.__exit__()
            raise Failure(f"no host: {error}") from error
        self.slow = min(4, max(1, (time.monotonic() - begin) / BOOT_SECONDS))
        return self

    def __exit__(self, *error):
        self.machine.__exit__()

    def console(self):
        """What the kernel has printed since the present test began."""
        return self.machine.console()[self.begin:]

    def text(self, part):
        return self.parts.get(part, b"").decode(errors="replace")

    def reset(self):
        """Make the host as new for a test; False if it cannot be."""
        self.begin = len(self.machine.console())
        self.ask("reset")
        self.broken = self.text("status").strip() != "0"
        return not self.broken

    def put(self, name, data):
        """Write a file in /job."""
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name) or ".." in name:
            raise ValueError(f"files: {name!r} is no plain name")
        self.ask("put", name, data, (10 + len(data) / SPEED) * self.slow)

    def run(self, command, seconds=15, events="*"):
        limit = round(seconds * self.slow)
        self.ask("run", f"{limit} {events.replace(',', ' ')}", command.encode() + b"\n", limit)
        status, log, output = (self.text(key) for key in ("status", "log", "output"))
        found, lost = parse_events(self.text("events"))
        run = Run(command, -1, output.replace("\r\n", "\n"), found, log, lost, len(self.parts.get("output", b"")) >= KEPT)
        if not status.strip().isdigit():
            if status.strip() not in ("late", "stuck"):
                raise Mismatch("the host's answer is damaged", got="Did something write to /dev/ttyS1?\n" + tail(output))
            self.broken = "stuck" in status
            stuck = ["not even a kill ends it:"] + oops.stack(log, self.module) if self.broken else []
            last = ["last events:", *map(str, found[-10:])] if found else []
            error = Mismatch(f"`{command}` did not end within {limit} s",
                             got="\n".join([tail(output) or "(no output)", *stuck, *last]))
            error.run = run
            raise error
        run.status = int(status)
        return run

    def ask(self, verb, words="", data=b"", seconds=10):
        """Send a request and take the answer's parts."""
        nonce = secrets.token_hex(8).encode()
        mark = re.compile(rb"\n%s (?:(\w+) (\d+)|end)\n" % nonce)
        try:
            self.machine.link.sendall(b"%s %s %d %s\n" % (nonce, verb.encode(), len(data), words.encode()) + data)
            self.machine.read_until(lambda: self.answer(mark), seconds + GRACE * self.slow, "no answer")
        except (Failure, OSError) as error:
            raise self.post_mortem() from error

    def answer(self, mark):
        """Whether the whole answer is there; then it is in self.parts."""
        pending, parts, at = self.machine.pending, {}, 0
        while found := mark.search(pending, at):
            if not found.group(1):
                self.machine.pending = pending[found.end():]
                self.parts = parts
                return True
            at = found.end() + int(found.group(2))
            try:
                parts[found.group(1).decode()] = zlib.decompressobj(31).decompress(pending[found.end():at], PART)
            except zlib.error:  # somebody else writes on the link too
                parts[found.group(1).decode()] = b""
        return False

    def post_mortem(self):
        """The host does not answer: find out where it stands. Returns what to raise."""
        self.broken = True
        process, registers, hung = self.machine.process, "", False
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            hung = True
            try:
                registers = self.machine.monitor("info registers -a")
                self.machine.monitor("nmi")
                process.wait(15)
            except (OSError, subprocess.TimeoutExpired):
                terminate(process)
                process.wait()
        headline, details = oops.decode(self.console(), self.module)
        if not headline and not hung and process.returncode:
            return Failure(f"the emulator ended with status {process.returncode}")
        if not headline and not hung:
            headline = "no panic, so it was a triple fault, or somebody powered it off"
        if hung:
            rips = "\n".join(re.findall(r"\b[RE]IP=\S+|CPL=\d", registers))
            return Mismatch("the host hung; an NMI found it here", got=details or rips)
        return Mismatch("the host died: " + headline, got=details or tail(self.console()))
