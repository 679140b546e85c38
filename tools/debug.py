# SPDX-License-Identifier: GPL-2.0
"""A host under gdb, for `make debug` and `lab debug`: it boots, loads ringlet.ko, and stops before the command; gdb has the symbols
of kernels, module and launcher, and the commands of tools/gdb/ringlet.py. GDB_ARGS are more arguments for gdb, such as -batch -ex 'break handle_exit' -ex continue -ex backtrace."""
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

from kit import ROOT, die
from machine import Machine

SECTIONS = ".text .rodata .data .bss .gnu.linkonce.this_module".split()


class Debugged(Machine):
    def command(self):
        return super().command() + ["-chardev", f"socket,id=gdb,path={self.folder}/gdb,server=on,wait=off", "-gdb", "chardev:gdb"]


def job(command):
    """First the module's addresses, then nothing until a line comes, then the command."""
    return ("for s in %s; do echo $s $(cat /sys/module/ringlet/sections/$s 2>/dev/null || echo 0); done; echo ready; read go; %s"
            % (" ".join(SECTIONS), command))


def debug(command, kernel, **options):
    """Boot and hand the terminal to gdb; its exit status. kernel: the tree with the vmlinux."""
    module = options["replace"].get("modules/ringlet.ko")
    with Debugged(job(command), seconds=24 * 3600, **options) as machine:
        machine.read_until(lambda: b"ready\n" in machine.pending, 60, "the host is not ready")
        text, machine.pending = machine.pending.split(b"ready\n", 1)
        addresses = dict(line.split() for line in text.decode().splitlines() if line.startswith("."))
        machine.monitor("stop")
        machine.link.sendall(b"go\n")
        words = ["gdb", "-q", "-ex", "set confirm off", "-ex", "set pagination off", "-ex", f"target remote {machine.folder}/gdb"]
        if module:
            rest = " ".join(f"-s {name} {address}" for name, address in addresses.items() if name != ".text" and address != "0")
            rest += " -s .data..percpu 0x1000"  # where it is says __this_module.percpu
            # gdb places the variables of a module only if none of its sections has an address yet; .data has.
            placeless = machine.folder / "ringlet.ko"
            subprocess.run(["objcopy", "--change-section-address", ".data=0", module, placeless], check=True)
            words += ["-ex", f"add-symbol-file {placeless} {addresses['.text']} {rest}"]
        words += ["-x", str(ROOT / "tools/gdb/ringlet.py")] + shlex.split(os.environ.get("GDB_ARGS", "")) + [str(kernel / "vmlinux")]
        guest = options["replace"].get("guest/vmlinux")
        symbols = guest and Path(guest).with_name("vmlinux.symbols")
        environment = {"RINGLET_HOST_SYMBOLS": str(kernel / "vmlinux"), "RINGLET_LAUNCHER": str(options["replace"]["bin/ringlet"]),
                       "RINGLET_GUEST_SYMBOLS": str(symbols if symbols and symbols.exists() else kernel / "vmlinux")}
        reader = threading.Thread(target=show, args=(machine,), daemon=True)
        reader.start()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for gdb
        try:
            return subprocess.call(words, env={**os.environ, **environment})
        except FileNotFoundError:
            die("gdb is missing", "install gdb, or `make packages`")
        finally:
            signal.signal(signal.SIGINT, before)


def show(machine):
    """What the command prints, while gdb has the terminal."""
    try:
        while data := machine.link.recv(4096):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    except OSError:
        pass
