# SPDX-License-Identifier: GPL-2.0
"""For all tests: hosts that are booted once and driven by shell commands.

    def test_it(host):                      # the kit's kernel, one CPU, booted once per module
        host.check("insmod …")              # output of a command that must end with 0
        result = host.run("stress", 300)    # result.status, result.output
        host.in_guest("stress", cpus=2)     # the same, in a fresh guest
        host.monitor("nmi")                 # QEMU's monitor
        host.console()                      # what the host's kernel printed

    @pytest.mark.parametrize("any_host", [("6.1", 2)], indirect=True)   # (kernel, cpus)

A test that leaves the host damaged uses boot_host() as a context manager of its own."""
import contextlib
import os
import secrets
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pexpect.fdpexpect
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from machine import Machine  # noqa: E402

KERNELS = ["kit", "6.1", "6.12-debian"]
TROUBLE = ("BUG:", "Oops", "general protection fault, ", "Kernel panic", "WARNING: CPU", "blocked for more than", "soft lockup")


class Result(NamedTuple):
    status: int
    output: str


class Host(Machine):
    """A machine whose job is a shell on the link; behind a pipe, so that it neither prompts nor echoes."""

    def __init__(self, **settings):
        super().__init__("sh | cat", seconds=7200, **{"name": "test", **settings})

    def start(self):
        super().start()
        self.shell = pexpect.fdpexpect.fdspawn(self.link, encoding="utf-8", codec_errors="replace", timeout=60)
        self.shell.delaybeforesend = None
        self.shell.buffer = self.pending.decode()
        return self

    def run(self, command, timeout=60):
        """Run a shell command, in a shell of its own; output and exit status."""
        mark = secrets.token_hex(8)
        self.shell.send(f"(cd /job; {command}\n) </dev/null 2>&1; status=$?; echo; echo {mark[:8]}''{mark[8:]} $status\n")
        try:
            self.shell.expect(rf"\n{mark} (\d+)\n", timeout=timeout)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            pytest.fail(f"{type(error).__name__} after {timeout} s of: {command}\noutput: {self.shell.before[-2000:]}\n"
                        f"console: {self.console()[-2000:]}")
        return Result(int(self.shell.match.group(1)), self.shell.before.replace("\r\n", "\n"))

    def check(self, command, timeout=60):
        result = self.run(command, timeout)
        assert result.status == 0, f"{command}: {result}\n{self.console()[-2000:]}"
        return result.output

    def in_guest(self, command, timeout=120, cpus=1, mem=256, options="", prefix=""):
        return self.run(f"{prefix} GUEST_CPUS={cpus} GUEST_MEM={mem} in-guest {shlex.quote(command)} {options}", timeout)

    def exits(self):
        """The module's counters, {name: count}."""
        lines = self.check("cat /sys/kernel/debug/ringlet/exits").splitlines()
        return {name: int(count) for name, count in (line.split() for line in lines if line.strip())}

    def trouble(self):
        """Lines of the host's log that no test may cause."""
        log = self.check("dmesg") + self.console()
        return [line for line in log.splitlines() if any(word in line for word in TROUBLE)]


@contextlib.contextmanager
def boot_host(**settings):
    """A host for one test: kernel=, cpus=, mem=, files=, accel=."""
    if not (ROOT / f"build/host-{settings.get('kernel', 'kit')}/initramfs").exists():
        pytest.fail(f"host {settings.get('kernel', 'kit')} is not built; use `make test`, not pytest alone")
    with Host(**settings) as machine:
        yield machine


@pytest.fixture(scope="module")
def host():
    with boot_host(mem=1024) as machine:
        yield machine
        assert not machine.trouble()


@pytest.fixture(scope="module", params=[(kernel, 2) for kernel in KERNELS],
                ids=lambda value: f"{value[0]}-{value[1]}cpu")
def any_host(request):
    kernel, cpus = request.param
    with boot_host(kernel=kernel, cpus=cpus, mem=1536) as machine:
        yield machine
        assert not machine.trouble()


@pytest.fixture
def make():
    """Call make in this checkout: make("host", CMD="true"). Stdin is empty, so nothing is a terminal."""
    def call(*targets, timeout=600, cwd=ROOT, **variables):
        words = ["make", *targets, *(f"{name}={value}" for name, value in variables.items())]
        environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=timeout, env=environment,
                              stdin=subprocess.DEVNULL)
    return call
