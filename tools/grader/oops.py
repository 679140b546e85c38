# SPDX-License-Identifier: GPL-2.0
"""What a kernel says of its own misery: where it was, how it came there, the last events of the module's trace."""
import re
import subprocess

FRAMES = 10
EVENTS = 20
WORST = [r"BUG: .*", r"(?:general protection fault|divide error|invalid opcode|stack segment|double fault|int3).*",
         r"Kernel panic - not syncing: .*"]
# What a stack has on top by the very look at it: the frames up to the last of these.
LOOKING = re.compile(r"panic|nmi_panic|oops_end|end_repeat_nmi|asm_exc_\w+|nmi_trigger_cpumask_backtrace|__handle_sysrq")


def plain(log):
    """Without the times before the lines."""
    return re.sub(r"^\[ *\d+\.\d+\] ?", "", log.replace("\r", ""), flags=re.M)


def source(module, where, returned):
    """ "host/vcpu.c:123" of "function+0x12", or nothing; only if the .ko was built with -g. An address to which a call
    returned belongs to the line before."""
    name, offset = where.split("+")
    table = subprocess.run(["objdump", "-t", module], capture_output=True, text=True).stdout
    symbol = re.search(rf"^([0-9a-f]+) .{{7}} (\S+)\t[0-9a-f]+ (?:\.hidden )?{re.escape(name)}$", table, re.M)
    if not symbol:
        return ""
    at = int(symbol.group(1), 16) + int(offset, 16) - returned
    lines = subprocess.run(["addr2line", "-i", "-e", module, "-j", symbol.group(2), hex(at)], capture_output=True,
                           text=True).stdout
    # Of what was inlined there the innermost line that is not a header's.
    found = re.search(r"([^/\s]+/[^/\s]+\.[cS]):(\d+)", lines)
    return f" {found.group(1)}:{found.group(2)}" if found else ""


def place(where, size_and_rest, module, returned):
    ours = "[ringlet]" in size_and_rest
    return where + " [ringlet]" * ours + (source(module, where, returned) if ours and module else "")


def stack(log, module=None):
    """A stack of the log as lines, if there is a choice one with ringlet.ko in it."""
    shown = [part for part in re.split(r"^(?:CPU: \d+ |task:).*$", plain(log), flags=re.M)[1:] if "Call Trace:" in part]
    if not shown:
        return []
    part = next((part for part in shown if "[ringlet]" in part.split("Modules linked in")[0]), shown[0])
    before, trace = part.split("Call Trace:", 1)
    frames = re.findall(r"^ +([\w.]+\+0x[0-9a-f]+)(/.*)$", trace.split("Modules linked in")[0], re.M)
    looking = [at for at, (where, _) in enumerate(frames) if LOOKING.fullmatch(where.split("+")[0])]
    frames = frames[looking[-1] + 1:] if looking else frames
    lines = ["from " + place(where, rest, module, 1) for where, rest in frames[:FRAMES]]
    if rip := re.search(r"^RIP: 0010:([\w.]+\+0x[0-9a-f]+)(/.*)", before + trace, re.M):
        lines.insert(0, "at " + place(rip.group(1), rip.group(2), module, 0))
    return lines


def decode(console, module=None):
    """(headline, details) of a panic, or ("", "") if there is none."""
    text = plain(console)
    if "Kernel panic - not syncing" not in text:
        return "", ""
    headline = next(found.group(1) for found in (re.search(f"^.*?({cause})", text, re.M) for cause in WORST) if found)
    lines = stack(console, module)
    if events := re.findall(r" ringlet_(\w+: .*)", text):
        lines += ["last events:", *events[-EVENTS:]]
    return headline, "\n".join(lines)
