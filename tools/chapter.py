#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The tree as it stands at the end of a chapter, made from this one (design decision D9; chapters/manifest.toml):

chapter tree N [OUT]   generate chapter N's tree (default build/chapters/NN)
chapter run N          generate, build, boot, show its demo
chapter debug N        the same under gdb; with CMD= instead of the demo
chapter diff N [STEP]  what chapter N, or one of its steps, adds
chapter check [N...]   run each; the demo must print what the manifest says
chapter sizes          lines of code that each step adds

Conditionals: `#if CHAPTER >= n` for what a file grows by, `#if SOLUTION >= nmm` for what a student writes in exercise
n.mm, with what they find instead behind `#else`. unifdef resolves both; a tree keeps none."""
import difflib
import fcntl
import fnmatch
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from kit import BUILD, ROOT, die, jobs, say, step, write_if_changed
from machine import Failure, Machine

LAST = 14
SOLVED = 9999  # every exercise
STEP_LINES = 400
CONDITIONAL = re.compile(rb"#(?:el)?if (?:CHAPTER|SOLUTION) (?:>=|<|==) \d+(?: \|\| SOLUTION >= \d+)?|#ifndef CHAPTER")
CONDITIONAL_HELP = "write #if CHAPTER >= n or #if SOLUTION >= nmm, alone on its line, with #endif"
# What a guest's initrd loads if the tree has the file.
DRIVERS = {"guest/linux/drivers/virtio/virtio_ringlet.c": "virtio_ringlet", "launcher/virtqueue.c": "virtio-rng",
           "host/eventfd.c": "virtio_console", "launcher/net.c": "virtio_net", "launcher/block.c": "virtio_blk",
           "guest/drivers/ringnet.c": "ringnet", "guest/drivers/ringblk.c": "ringblk"}


@dataclass
class Step:
    title: str
    files: list = field(default_factory=list)


@dataclass
class Chapter:
    number: int
    name: str
    title: str
    steps: list
    demo: str = ""
    prints: list = field(default_factory=list)
    options: dict = field(default_factory=dict)  # of the demo's machine: cpus, mem

    def __str__(self):
        return f"{self.number:02}-{self.name}"


def manifest():
    data = tomllib.loads((ROOT / "chapters/manifest.toml").read_text())
    return [Chapter(steps=[Step(**part) for part in row.pop("step", [])], **row) for row in data["chapter"]]


def sources():
    """Paths of all that a chapter's tree may hold, relative to the kit."""
    found = []
    for top in "host", "guest", "launcher", "include":
        for folder, _, names in os.walk(ROOT / top):
            found += [str((Path(folder) / name).relative_to(ROOT)) for name in names
                      if not re.search(r"\.(o|ko|cmd|mod|order)$|\.mod\.c$|Module\.symvers", name)]
    return sorted(found)


def entries():
    """{path: chapter that brings it in}; a file in no step or in two is an error."""
    where, found = {}, sources()
    for chapter in manifest():
        for part in chapter.steps:
            for pattern in part.files:
                names = fnmatch.filter(found, pattern)
                if not names:
                    die(f"chapters/manifest.toml: chapter {chapter.number} names {pattern}, which does not exist")
                for name in names:
                    if name in where:
                        die(f"chapters/manifest.toml: {name} stands in chapters {where[name]} and {chapter.number}")
                    where[name] = chapter.number
    lost = [name for name in found if name not in where]
    if lost:
        die(f"chapters/manifest.toml names no chapter for {', '.join(lost)}")
    return where


def resolve(name, text, chapter, solution):
    """A file's text at a chapter and a state of its exercises."""
    if not re.search(rb"^\s*#\s*(el)?if.*\b(CHAPTER|SOLUTION)\b", text, re.M):
        return text
    odd = [line for line in re.findall(rb"^\s*#.*\b(?:CHAPTER|SOLUTION)\b.*", text, re.M) if not CONDITIONAL.fullmatch(line.strip())
           and not line.lstrip().startswith(b"#define")]
    if odd:
        die(f"{name}: {odd[0].decode().strip()}: not a conditional of the kit", CONDITIONAL_HELP)
    # An exercise of a later chapter is as good as solved, even where its code is older.
    text = re.sub(rb"^(#if SOLUTION >=) (\d+)\d\d$", lambda line: line[1] + (b" 0" if int(line[2]) > chapter else line[0][len(line[1]):]),
                  text, flags=re.M)
    plain = [] if name.endswith((".c", ".h", ".S")) else ["-t"]
    result = subprocess.run(["unifdef", "-x2", "-B", *plain, f"-DCHAPTER={chapter}", f"-DSOLUTION={solution}"], input=text,
                            capture_output=True)
    left = re.search(rb"^\s*#.*\b(CHAPTER|SOLUTION)\b.*", result.stdout, re.M)
    if result.returncode or left:
        die(f"{name}: {result.stderr.decode().strip() or 'not resolved: ' + left.group().decode()}",
            CONDITIONAL_HELP)
    return result.stdout


def contents(chapter, solution=SOLVED):
    """{path: bytes} of a chapter's tree. Files that become empty are left out."""
    files = {}
    for name, number in entries().items():
        if number <= chapter:
            text = resolve(name, (ROOT / name).read_bytes(), chapter, solution)
            if text.strip():
                files[name] = text
    return files


def write_tree(out, files):
    """Make a folder hold files, {path: bytes}; what else a build made there stays."""
    record = out / ".files"
    for stale in set(record.read_text().split("\n") if record.exists() else []) - set(files) - {""}:
        (out / stale).unlink(missing_ok=True)
    for name, data in files.items():
        write_if_changed(out / name, data)
    write_if_changed(record, "".join(f"{name}\n" for name in sorted(files)))
    return out


def generate(out, chapter, solution=SOLVED):
    """Write a chapter's tree."""
    return write_tree(out, contents(chapter, solution))


def code(name, text):
    """The lines of a source without comments and blanks."""
    text = text.decode(errors="replace")
    if name.endswith((".c", ".h", ".S", ".lds")):
        text = re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", text, flags=re.S | re.M)
    else:
        text = re.sub(r"^\s*#.*", "", text, flags=re.M)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def added(before, after):
    """How many lines stand in after and not in before."""
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    return sum(j2 - j1 for tag, _, _, j1, j2 in matcher.get_opcodes() if tag in ("insert", "replace"))


def step_files(chapter):
    """[(step, [path])]"""
    found = sources()
    return [(part, [name for pattern in part.files for name in fnmatch.filter(found, pattern)]) for part in chapter.steps]


def growth(chapter):
    """{path: lines of code that the chapter adds}"""
    before, after = contents(chapter.number - 1) if chapter.number else {}, contents(chapter.number)
    return {name: added(code(name, before.get(name, b"")), code(name, text)) for name, text in after.items()
            if before.get(name) != text}


def sizes():
    too_long = []
    for chapter in manifest():
        grown = growth(chapter)
        rows = [(part.title, sum(grown.pop(name, 0) for name in names)) for part, names in step_files(chapter)]
        rows += [("what older files grow by", sum(grown.values()))] if any(grown.values()) else []
        print(f"{chapter.number:2} {chapter.title:52} {sum(lines for _, lines in rows):5}")
        for title, lines in rows:
            print(f"     {title:50} {lines:5}" + ("  more than a step should have" if lines > STEP_LINES else ""))
            too_long += [title] * (lines > STEP_LINES)
    return too_long


def diff(number, part=None):
    chapters = {chapter.number: chapter for chapter in manifest()}
    before, after = contents(number - 1) if number else {}, contents(number)
    names = sorted(set(before) | set(after))
    if part:
        names = step_files(chapters[number])[part - 1][1]
    for name in names:
        old, new = (tree.get(name, b"").decode().splitlines(keepends=True) for tree in (before, after))
        sys.stdout.writelines(difflib.unified_diff(old, new, f"a/{name}" if old else "/dev/null",
                                                   f"b/{name}" if new else "/dev/null"))


def build(tree, strict=False):
    """Build a tree. Return {path in the host's initramfs: file} of what it brings along. strict: warnings are errors."""
    made, out = {}, tree / "out"
    title = tree.name
    flags = ["KCFLAGS=-g -Werror" if strict else "KCFLAGS=-g"]  # gdb and the decoding of an oops want lines
    if (tree / "host").exists():
        made["modules/ringlet.ko"] = unless_made(tree / "host/ringlet.ko", tree, ("host/", "include/"), flags, lambda: step(
            f"{title}: module", ["make", "-C", linux(), f"M={tree / 'host'}", *flags, f"-j{jobs()}", "modules"]))
    step(f"{title}: launcher", ["make", "-C", tree / "launcher", f"O={out / 'launcher'}", f"-j{jobs()}"])
    made["bin/ringlet"] = out / "launcher/ringlet"
    if (tree / "guest/tiny").exists():
        step(f"{title}: tiny guests", ["make", "-C", tree / "guest/tiny", f"O={out / 'tiny'}"])
        made.update({f"guest/tiny/{path.name}": path for path in (out / "tiny").iterdir() if not path.suffix})
    if (tree / "guest/linux").exists():
        made["guest/vmlinux"] = guest_kernel(tree)
        made["guest/initrd"] = unless_made(tree / "out/guest-initrd", tree, ("guest/linux/", "guest/drivers/", "include/"), flags,
                                           lambda: guest_initrd(tree, flags))
    return made


def unless_made(out, tree, folders, flags, make):
    """Return out, which make() makes, unless it was made of the same sources: kbuild takes seconds to find nothing to do."""
    names = [name for name in (tree / ".files").read_text().split("\n") if name.startswith(folders)]
    tools = [ROOT / "tools/images", *(path for path in sorted((ROOT / "tools/rootfs").rglob("*")) if path.is_file())]
    state = repr([flags, str(linux()), (linux() / "vmlinux").stat().st_mtime_ns, sorted(names)]).encode()
    state += b"".join(path.read_bytes() for path in [*(tree / name for name in sorted(names)), *tools])
    record = tree / f"out/{out.name}.made"
    digest = hashlib.sha256(state).hexdigest()
    if not (out.exists() and record.exists() and record.read_text() == digest):
        record.parent.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        make()
        record.write_text(digest)
    return out


def guest_initrd(tree, flags):
    """Put the tree's own drivers, built outside of the kernel's tree, and stock ones in an initrd."""
    modules = tree / "out/modules"
    write_if_changed(modules / "Kbuild", "".join(f"obj-m += {kind}/\n" for kind in ("transport", "drivers")))
    own = {"transport": tree / "guest/linux/drivers/virtio", "drivers": tree / "guest/drivers"}
    for kind, folder in own.items():
        wanted = {path.name: path.read_bytes() for path in folder.glob("*.c")} if folder.exists() else {}
        wanted["Kbuild"] = (f"LINUXINCLUDE := -I{tree}/guest/linux/arch/x86/include -I{tree}/include $(LINUXINCLUDE)\n"
                            + "".join(f"obj-m += {name[:-2]}.o\n" for name in sorted(wanted))).encode()
        write_tree(modules / kind, wanted)
    step(f"{tree.name}: guest modules", ["make", "-C", linux(), f"M={modules}", *flags, "modules"])
    initrd = tree / "out/guest-initrd"
    load = [driver for device, drivers in DRIVERS.items() if (tree / device).exists() for driver in drivers.split()]
    init = "initrd" if "virtio_blk" in load else "chapter"
    step(f"{tree.name}: guest initrd", [ROOT / "tools/images", "guest-initrd", initrd, "--kernel", linux(), "--drivers", modules,
                                        "--init", init, "--load", ",".join(load)])


def platform(tree):
    """{path in a kernel tree: bytes} of what makes a chapter's kernel its own."""
    files = {f"include/ringlet/{path.name}": path for path in (tree / "include/ringlet").iterdir()}
    top = tree / "guest/linux"
    files.update({str(path.relative_to(top)): path for path in (top / "arch").rglob("*") if path.is_file()})
    return {name: path.read_bytes() for name, path in sorted(files.items())
            if not name.endswith((".o", ".cmd", ".order", ".a"))}


@functools.cache
def kernel_digest():
    return hashlib.sha256((linux() / "vmlinux").read_bytes()).digest()


def guest_kernel(tree):
    """A tree's guest kernel without its symbols. Built in a second kernel tree, kept by content."""
    files = platform(tree)
    digest = hashlib.sha256(repr(sorted(files.items())).encode() + kernel_digest()).hexdigest()[:16]
    vmlinux = BUILD / "kernels" / digest / "vmlinux"
    (BUILD / "kernels").mkdir(parents=True, exist_ok=True)
    with open(BUILD / "kernels/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not vmlinux.exists():
            build_kernel(tree.name, files, vmlinux)
    return vmlinux


def build_kernel(title, files, vmlinux):
    source = linux()
    same = all((source / name).exists() and (source / name).read_bytes() == data for name, data in files.items())
    if not (same and len(files) == len(platform_of_kernel(source))):
        source = second_kernel_tree()
        for name in set(platform_of_kernel(source)) - set(files):
            (source / name).unlink()
        for name, data in files.items():
            write_if_changed(source / name, data)
        step(f"{title}: guest kernel", ["make", "-C", source, f"-j{jobs()}", "vmlinux"])
    vmlinux.parent.mkdir(exist_ok=True)
    subprocess.run(["objcopy", "--only-keep-debug", source / "vmlinux", f"{vmlinux}.symbols"], check=True)  # for gdb
    subprocess.run(["strip", "-s", "-o", f"{vmlinux}.new", source / "vmlinux"], check=True)
    os.rename(f"{vmlinux}.new", vmlinux)


def platform_of_kernel(source):
    """The paths of platform() in a kernel tree."""
    found = [*(source / "include/ringlet").glob("*.h"), source / "arch/x86/include/asm/ringlet.h"]
    found += [path for path in (source / "arch/x86/ringlet").iterdir()
              if path.suffix in (".c", ".S") or path.name in ("Makefile", "Kconfig")]
    return [str(path.relative_to(source)) for path in found]


def second_kernel_tree():
    """A copy of the kernel's tree with its objects, for the kernels of chapters and students."""
    source, copy = linux(), BUILD / "linux-chapters"
    key = hashlib.sha256((source / ".config").read_bytes() + str(source).encode()
                         + b"".join(path.read_bytes() for path in sorted((ROOT / "guest/linux/patches").iterdir()))).hexdigest()
    if not (copy / ".copied").exists() or (copy / ".copied").read_text() != key:
        shutil.rmtree(copy, ignore_errors=True)
        step("copy the kernel tree", ["cp", "-a", "--reflink=auto", source, copy])
        # make compares commands, and those of its tools have the tree's place in them.
        script = 'grep -rlIF "$0" "$1/tools" --include=".*.cmd" --include="*.d" | xargs -r sed -i "s|$0|$1|g"'
        subprocess.run(["sh", "-c", script, source, copy], check=True)
        (copy / ".copied").write_text(key)
    return copy


def linux():
    tree = Path(os.environ.get("KERNEL_BUILD") or BUILD / "linux").resolve()
    if not (tree / "vmlinux").exists():
        die(f"no kernel in {tree}", "make all")
    return tree


def run(chapter, sink):
    """Boot a chapter's system and give its demo's output to sink; return the demo's status."""
    replace = build(generate(BUILD / f"chapters/{chapter.number:02}", chapter.number), strict=True)
    with Machine(chapter.demo, replace=replace, name=f"chapter-{chapter.number:02}", seconds=120,
                 **chapter.options) as machine:
        status = machine.finish(sink)
        if machine.why:
            raise Failure(machine.why)
    return status


def check(chapter):
    """Run a chapter; say what its demo should have printed and did not."""
    output = []
    run(chapter, output.append)
    text = b"".join(output).decode(errors="replace").replace("\r", "")
    at = 0
    for wanted in chapter.prints:
        found = re.compile(wanted, re.M).search(text, at)
        if not found:
            say(f"  chapter {chapter.number}: the demo does not print {wanted!r} (any more) here:\n"
                + "".join(f"    | {line}\n" for line in text.splitlines()[-30:]))
            return False
        at = found.end()
    say(f"  chapter {chapter.number}: builds, boots, and its demo prints what it should")
    return True


def main():
    what, *words = sys.argv[1:] or ["help"]
    chapters = {chapter.number: chapter for chapter in manifest()}
    if what in ("tree", "run", "debug", "diff") and not (words and words[0].isdigit() and int(words[0]) in chapters):
        die(f"which chapter? one of 0 to {max(chapters)}", "make ch04, make diff CH=4", 2)
    if what == "tree":
        out = Path(words[1]) if words[1:] else BUILD / f"chapters/{int(words[0]):02}"
        print(generate(out, int(words[0])))
    elif what == "run":
        def show(data):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        try:
            return run(chapters[int(words[0])], show)
        except Failure as failure:
            die(str(failure), f"look at build/log/chapter-{int(words[0]):02}-console.log", 125)
    elif what == "debug":
        from debug import debug
        chapter = chapters[int(words[0])]
        replace = build(generate(BUILD / f"chapters/{chapter.number:02}", chapter.number))
        return debug(os.environ.get("RINGLET_CMD") or chapter.demo, linux(), replace=replace, name="debug", **chapter.options)
    elif what == "diff":
        diff(int(words[0]), int(words[1]) if words[1:] else None)
    elif what == "check":
        bad = [n for n in (map(int, words) if words else chapters) if not check(chapters[n])]
        sizes()
        return 1 if bad else 0
    elif what == "sizes":
        return 1 if sizes() else 0
    else:
        say(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
