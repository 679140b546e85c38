# SPDX-License-Identifier: GPL-2.0
"""A host: Linux in QEMU (or Bochs) with everything it needs in its initramfs, so no disks, no network card, no ports.

tools/boot, tools/bench and tests/conftest.py use it. The protocol on the second serial port, the link, is in
tools/rootfs/host/init: the machine says "NONCE up", runs the job, and ends with "NONCE exit STATUS [WHY]"."""
import os
import re
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from kit import BUILD, LOGS, die

BOOT_SECONDS = int(os.environ.get("BOOT_SECONDS", "120"))
# Debian's kernels turn 5-level page tables on where they can, and the module refuses those. With ERMS or FSRM Linux clears
# pages by "rep stosb", which TCG does byte by byte.
TCG_MODEL = "max,la57=off,-erms,-fsrm"


class Failure(Exception):
    """The machine, not the job, failed."""


def cpu_flags():
    found = re.search(r"^flags\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)
    return set(found.group(1).split()) if found else set()


def accelerator():
    """kvm if the CPU has it and a host really boots on it, else tcg; $ACCEL decides without asking."""
    if os.environ.get("ACCEL"):
        return os.environ["ACCEL"]
    if not cpu_flags() & {"vmx", "svm"} or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    verdict = BUILD / "accelerator"
    if not verdict.exists():
        try:
            with Machine("exit 0", accel="kvm", seconds=20, name="probe-kvm") as machine:
                verdict.write_text("kvm" if machine.finish(lambda data: None) == 0 else "tcg")
        except Failure:
            verdict.write_text("tcg")
    return verdict.read_text()


def overlay(job, files, replace):
    """A cpio that adds the job and its files to the host's initramfs, and lays replace, {path: bytes or file}, over it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, data in replace.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data if isinstance(data, bytes) else Path(data).read_bytes())
            (root / path).chmod(0o755)
        (root / "ringlet").mkdir(exist_ok=True)
        (root / "job").mkdir(exist_ok=True)
        (root / "ringlet/job").write_text(job + "\n")
        for file in map(Path, files):
            if not file.exists():
                die(f"FILES: {file} does not exist", "name files or folders, relative to where you call make")
            if file.is_dir():
                shutil.copytree(file, root / "job" / file.resolve().name, symlinks=True)
            else:
                shutil.copy(file, root / "job" / file.name)
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        return subprocess.run(["cpio", "-o", "-H", "newc", "--owner", "0:0", "--quiet"], cwd=root, input=names.encode(),
                              stdout=subprocess.PIPE, check=True).stdout


def terminate(process):
    """The whole group: timeout(1) would forget an emulator that it is just starting."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass


class Machine:
    """with Machine(job) as m: the host is up; talk over m.link, then m.finish(). Leaving ends it in any case."""

    boot_factor = 1  # how much longer than QEMU it may take to boot
    started, starting, leaving = set(), threading.RLock(), False  # for end_all()

    def __init__(self, job, kernel="kit", cpus=1, mem=768, files=(), variables=None, accel=None, model=None,
                 seconds=600, name="host", replace=None, boot=""):
        self.folder = Path(tempfile.mkdtemp(prefix="ringlet-"))
        self.kernel = BUILD / f"host-{kernel}"
        self.cpus, self.mem, self.seconds, self.name = cpus, mem, seconds, name
        self.nonce = secrets.token_hex(8)
        self.log = self.folder / "console.log"
        self.accel, self.model = accel, model
        self.variables = {"NONCE": self.nonce, "GUEST_CPUS": min(cpus, 4), **(variables or {})}
        self.job, self.files, self.replace = job, files, replace or {}
        self.boot = boot  # more words for the kernel's command line
        self.process = self.link = None
        self.pending = b""
        self.finished, self.why = False, ""

    def cmdline(self):
        words = [f"{key}={value}" for key, value in self.variables.items()]
        return " ".join(["console=ttyS0 quiet panic=-1", *words, self.boot])

    def offer_link(self):
        """Make the link's end that the emulator will look for."""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{self.folder}/link")
        self.listener.listen()
        self.listener.settimeout(0.2)

    def take_link(self):
        with self.listener:
            while self.process.poll() is None:
                try:
                    return self.listener.accept()[0]
                except TimeoutError:
                    pass
        raise Failure("the emulator did not start: " + (self.folder / "emulator.log").read_text().strip())

    def command(self):
        accel = self.accel or accelerator()
        model = self.model or ("host" if accel == "kvm" else TCG_MODEL)
        return ["qemu-system-x86_64", "-nodefaults", "-no-user-config",
                "-machine", "q35", "-accel", accel + (",thread=multi" if accel == "tcg" else ""), "-cpu", model,
                "-smp", str(self.cpus), "-m", str(self.mem), "-display", "none", "-no-reboot",
                "-kernel", str(self.kernel / "bzImage"), "-initrd", str(self.folder / "initrd"),
                "-append", self.cmdline(), "-serial", f"file:{self.log}",
                "-chardev", f"socket,id=link,path={self.folder}/link", "-serial", "chardev:link",
                "-monitor", f"unix:{self.folder}/monitor,server=on,wait=off"]

    @classmethod
    def end_all(cls):
        """End all emulators, whichever thread they belong to, and start no more."""
        with cls.starting:
            cls.leaving = True
        for process in list(cls.started):
            terminate(process)
        for process in list(cls.started):
            process.wait()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def start(self):
        with open(self.folder / "initrd", "wb") as initrd:
            initrd.write((self.kernel / "initramfs").read_bytes() + overlay(self.job, self.files, self.replace))
        boot_seconds = BOOT_SECONDS * self.boot_factor
        self.offer_link()
        with open(self.folder / "emulator.log", "w") as log:
            limit = ["timeout", "-k", "5", str(self.seconds + boot_seconds)]  # outlives us, should we be killed
            with self.starting:
                if self.leaving:
                    raise Failure("the program is being ended")
                self.process = subprocess.Popen(limit + self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                process_group=0)
                self.started.add(self.process)
        self.link = self.take_link()
        up = f"{self.nonce} up\n".encode()
        self.read_until(lambda: up in self.pending, boot_seconds, "the host did not boot")
        self.pending = self.pending.split(up, 1)[1]
        return self

    def read_until(self, done, seconds, trouble, sink=None, keyboard=None):
        """Read the link into self.pending until done(); output goes on to sink, keys come from keyboard."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.link, selectors.EVENT_READ)
            if keyboard:
                selector.register(keyboard.fd, selectors.EVENT_READ)
            while not done():
                events = selector.select(min(1, max(0, deadline - time.monotonic())))
                if time.monotonic() > deadline or (keyboard and keyboard.impatient()):
                    raise Failure(f"{trouble} within {seconds} s" if not keyboard else "ended from the keyboard")
                if not events and self.process.poll() is not None:
                    raise Failure(f"{trouble}: the machine went down")
                for key, _ in events:
                    if keyboard and key.fd == keyboard.fd:
                        self.link.sendall(keyboard.read())
                        continue
                    data = self.link.recv(65536)
                    if not data:
                        raise Failure(f"{trouble}: the machine went down")
                    self.pending += data
                    if sink:
                        self.pass_on(sink)

    def pass_on(self, sink):
        """Hand output on, except what is, or may become, the exit line."""
        mark = b"\n" + self.nonce.encode()
        keep = self.pending.find(mark)
        if keep < 0:
            keep = next(at for at in range(max(0, len(self.pending) - len(mark)), len(self.pending) + 1)
                        if mark.startswith(self.pending[at:]))
        if keep:
            sink(self.pending[:keep])
            self.pending = self.pending[keep:]

    def finish(self, sink, keyboard=None):
        """Read the job's output to its end and return its status."""
        line = re.compile(rb"\n%s exit (\d+) ([^\n]*)\n" % self.nonce.encode())
        self.read_until(lambda: line.search(self.pending), self.seconds, "the job did not end", sink, keyboard)
        found = line.search(self.pending)
        sink(self.pending[:found.start()])
        self.finished, self.why = True, found.group(2).decode()
        return int(found.group(1))

    def monitor(self, command):
        """Give QEMU's monitor a command, such as "nmi"; return what it says."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(f"{self.folder}/monitor")
            said = b""
            for text in (None, command):
                if text:
                    connection.sendall(text.encode() + b"\n")
                    said = b""
                while not said.endswith(b"(qemu) "):
                    said += connection.recv(4096)
        return said.decode(errors="replace").replace("\r", "").removesuffix("(qemu) ")

    def console(self):
        """What the host's kernel has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def keep_log(self):
        LOGS.mkdir(parents=True, exist_ok=True)
        kept = LOGS / f"{self.name}-console.log"
        kept.write_text(self.console() + (self.folder / "emulator.log").read_text(errors="replace"))
        return kept

    def __exit__(self, *error):
        if self.process and self.process.poll() is None:
            try:
                self.process.wait(3 if self.finished else 0)  # after its exit line it powers off
            except subprocess.TimeoutExpired:
                terminate(self.process)
                self.process.wait()
        if self.process:
            self.keep_log()
            self.started.discard(self.process)
            self.process = None  # so that leaving twice does no harm
        if self.link:
            self.link.close()
        shutil.rmtree(self.folder, ignore_errors=True)
