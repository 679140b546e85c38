# SPDX-License-Identifier: GPL-2.0
"""What the tests of labs 10 and 11 share: guests with a device that is a module (fake_device.h), and scripts for the
submission's device (fake_queue.h)."""
import re

from grader import Mismatch, expect


def in_guest(host, command, options="", seconds=40, variables="CMDLINE=drivers=ring"):
    """Run a command in a guest without a disk; it must come to its end."""
    run = host.run(f"cp /lab/*.ko .; {variables} in-initrd 'sh work' {options}", seconds,
                   files={"work": f"{command}\necho all done".encode()}, events="none")
    if not re.search("^all done$", run.output, re.M):
        why = re.search(r"^.*(BUG|Oops|Kernel panic|general protection|guest killed).*$", run.output, re.M)
        raise Mismatch("the guest did not come to the end of the test", "all done",
                       (why.group() + "\n...\n" if why else "") + run.output[-1200:])
    run.lacks("BUG: |WARNING: |Oops|refcount_t|general protection|exhausted", "a complaint of the guest's kernel")
    return run


def with_module(host, module, *visits):
    """What a fake device says of the submission's driver, for each visit (words behind insmod)."""
    script = "".join(f"dmesg -c > /dev/null\ninsmod /job/{module}.ko {words} || echo it cannot be loaded\nrmmod {module}\necho == visit\n"
                     "dmesg | grep -E 'fake: |WARNING|BUG|exhausted'\n" for words in visits)
    run = in_guest(host, script)
    said = [re.findall(r"^(?:\[[^]]*\] )?fake: (.*)$", text, re.M) for text in run.output.split("== visit\n")[1:]]
    for lines in said:
        if "done" not in lines:
            raise Mismatch("the driver did not take the device", "done", run.output[-1200:])
    return ["\n".join(lines) + "\n" for lines in said]


def found(text, pattern, what):
    """The groups of a line that the fake device must have said, as numbers."""
    match = re.search(f"^{pattern}$", text, re.M)
    if not match:
        raise Mismatch(what, pattern, text)
    return [int(group) for group in match.groups()]


def hash_of(data, start=0):
    """As the programs in extra/ have it."""
    for byte in data:
        start = (start * 31 + byte) & 0xFFFFFFFF
    return start


def data(length, seed):
    """*LENGTH:SEED of a script."""
    return bytes((seed + at * at + (at >> 8)) & 0xFF for at in range(length))


def line(what, content):
    """As a program prints bytes."""
    return f"{what} {len(content)} {content[:12].hex()} {hash_of(content)}"


def cut(random, length, pieces):
    """Positive lengths of pieces, which together make length."""
    at = sorted(random.sample(range(1, length), pieces - 1)) if pieces > 1 else []
    return [end - begin for begin, end in zip([0, *at], [*at, length])]


class Script:
    """Lines for a program with the submission's device, and what must come of each."""

    def __init__(self, program):
        self.program, self.lines, self.wanted = program, [], []

    def do(self, words, *prints, why=""):
        self.lines.append(words)
        self.wanted += [(text, why or words) for text in prints]

    def play(self, host, before=""):
        run = host.run(f"{before}\n/lab/{self.program} script", files={"script": "\n".join([*self.lines, ""]).encode()}, events="none")
        said = [re.sub("^last [0-9]+ (?=in)", "", text) for text in run.output.splitlines() if text != "interrupt"]
        for (text, why), got in zip([*self.wanted, ("done", "the end")], [*said, *["(nothing more)"] * len(self.wanted)]):
            expect(got[:300], text[:300], why[:200])
        expect(len(said), len(self.wanted) + 1, "lines printed")
        return run
