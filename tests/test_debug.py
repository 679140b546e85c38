# SPDX-License-Identifier: GPL-2.0
"""gdb on the host inside QEMU, by scripts: `make debug`, and the commands of tools/gdb/ringlet.py."""
import os
import re
import subprocess

from conftest import ROOT


def session(tmp_path, commands, chapter="", command=""):
    script = tmp_path / "script.gdb"
    script.write_text("\n".join([*commands, "echo all done\\n", "kill", ""]))
    result = subprocess.run(["make", "debug", f"CH={chapter}", f"CMD={command}"], cwd=ROOT, stdin=subprocess.DEVNULL, text=True, timeout=400,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "GDB_ARGS": f"-batch -x {script}"})
    assert "all done" in result.stdout, result.stdout[-4000:]
    return result.stdout


def test_shadow_and_guest_tables(tmp_path):
    """Guards `ringlet walk` and `exits`: a stale entry is called so, and is gone after the flush; the counters are those of now."""
    text = session(tmp_path, ["break shadow_flush_page", "continue", "ringlet walk 0x40000000", "ringlet exits", "finish",
                              "ringlet walk 0x40000000", "delete", "ringlet trace 4"], chapter=4)
    before, after = text.split("Run till exit" if "Run till exit" in text else "hc_flush_page (", 1)
    assert "they differ" in before and re.search(r"PT\[0\] +guest 0x\w+ P W +shadow 0x\w+ P W", before)
    assert re.search("^hypercall_flush_page 1$", before, re.M) and re.search("^exit_page_fault [1-9]", before, re.M)
    assert "the shadow lacks it" in after
    assert re.search(r"^exit +vector 0xe .*\n(.*\n)*?fill +gva 0x40000000", after, re.M), after


def test_worlds_and_rings(tmp_path):
    """Guards that it works stopped in the guest, with symbols of the guest's kernel there; and a queue with what waits in it."""
    text = session(tmp_path, ["break start_kernel", "continue", "ringlet vcpu", "ringlet walk $rip", "backtrace", "delete", "break notify_signal",
                              "continue", "ringlet vring device queue"], command="in-guest true")
    assert re.search(r"^\[guest, ring 1\]$", text, re.M) and "vcpu 0, block 1 at 0xffff800000008000: it runs, stopped in ring 1" in text
    assert re.search(r"rip 0xffffffff8\w+ .*cs 0x81", text)
    assert "they agree" in text and re.search(r"^#1 .* in x86_64_start_reservations", text, re.M)
    given, taken = re.search(r"the driver has given (\d+), the device has taken (\d+)", text).groups()
    assert int(given) > int(taken) and re.search(r"waits: +head \d+: \d+ bytes at gpa 0x\w+ \(device (reads|writes)\)", text)


def test_no_guest_yet(tmp_path):
    """Guards the words for whoever asks too early."""
    text = session(tmp_path, ["python\ntry:\n  gdb.execute('ringlet vcpu')\n  gdb.execute('ringlet walk 0')\nexcept gdb.error as error:\n  print(error)\nend"], chapter=2)
    assert "no guest has a vCPU yet" in text
