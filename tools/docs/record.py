# SPDX-License-Identifier: GPL-2.0
"""What the book's commands print: run them as a reader would, and note it in chapters/output, or compare.

A chapter's commands for the host run in one host, block by block. Numbers differ from run to run; a comparison takes each as 1,
and lines such as `exit_page_fault 3` as a set."""
import os
import re
import subprocess

import chapter as chapters
from kit import BUILD, ROOT, die
from docs import source, view
from machine import Failure, Machine


def runs(number):
    path = source.chapter_files().get(number)
    return [block for block in source.blocks(path) if block.kind in ("run", "view") and "CH" not in block.words] if path else []


def session(prompt, lines, outputs):
    lines = [line.replace("\n", "\n> ") for line in lines]
    return "".join(f"{prompt}{line}\n{output.strip(chr(10))}\n" if output.strip() else f"{prompt}{line}\n"
                   for line, output in zip(lines, outputs))


def complete(lines):
    """Commands that go over several lines, each as one."""
    found = []
    for line in lines:
        if found and subprocess.run(["sh", "-n"], input=found[-1], text=True, capture_output=True).returncode:
            found[-1] += "\n" + line
        else:
            found.append(line)
    return found


def in_host(number, blocks):
    """{name: session}"""
    chapter = chapters.manifest()[number]
    replace = chapters.build(chapters.generate(BUILD / f"chapters/{number:02}", number), strict=True)
    lines = {block.id: complete(source.commands(block, number)) for block in blocks}
    script = "".join(f"status=$?; echo '@@@'; (exit $status)\n{line}\n" for block in blocks for line in lines[block.id])
    output = []
    with Machine(f"exec 2>&1\n{script}echo '@@@'", replace=replace, name=f"record-{number:02}", seconds=300,
                 **{"boot": "", **chapter.options}) as machine:
        machine.finish(output.append)
        if machine.why:
            raise Failure(machine.why)
    text = re.sub("\x1b\\[[0-9;?]*[A-Za-z]|\r", "", b"".join(output).decode(errors="replace"))
    parts = text.split("@@@\n")[1:]
    if len(parts) != sum(map(len, lines.values())) + 1:
        die(f"chapter {number}: its commands did not all run", f"build/log/record-{number:02}-console.log")
    return {block.id: session(source.PROMPTS["host"], lines[block.id], [parts.pop(0) for _ in lines[block.id]]) for block in blocks}


def on_workstation(block, number):
    lines = source.commands(block, number)
    results = [subprocess.run(line, shell=True, executable="/bin/bash", cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=600) for line in lines]
    return session(source.PROMPTS["workstation"], lines, [result.stdout for result in results])


def under_gdb(block, number):
    """gdb on the chapter's host: each line is a command for it."""
    lines = source.commands(block, number)
    script = BUILD / f"docs/{number:02}-{block.id}.gdb"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("".join(f"echo @@@\\n\n{line}\n" for line in lines) + "echo @@@\\n\nkill\n")
    result = subprocess.run(["make", "debug", f"CH={block.words.get('at', number)}"], cwd=ROOT, stdin=subprocess.DEVNULL, text=True, timeout=300,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env={**os.environ, "GDB_ARGS": f"-batch -x {script}"})
    parts = result.stdout.replace(f"{ROOT}/", "").split("@@@\n")[1:]
    if len(parts) != len(lines) + 1:
        die(f"chapter {number}: gdb did not come to the end of {block.id}:\n{result.stdout[-2000:]}")
    return session(source.PROMPTS["gdb"], lines, parts)


def traced(block, number):
    """A view's events."""
    data, made = view.record(number, block.text.strip())
    path = BUILD / f"docs/{number:02}-{block.id}.dat"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    found = view.window(view.events(view.report(path)), **source.window_of(block))
    view.locate(found, view.guest_file(block.text, made), "/guest/tiny/" in block.text)
    return view.noted(found)


def play(number):
    """{path: what the session looks like now}"""
    blocks = runs(number)
    now = {}
    hosted = [block for block in blocks if block.kind == "run" and block.words.get("on", "host") == "host"]
    if hosted:
        now.update(in_host(number, hosted))
    for block in blocks:
        if block.words.get("on") == "workstation":
            now[block.id] = on_workstation(block, number)
        elif block.words.get("on") == "gdb":
            now[block.id] = under_gdb(block, number)
        elif block.kind == "view":
            now[block.id] = traced(block, number)
    return {source.recorded(block, number): now[block.id] for block in blocks if block.id in now}


def record(number):
    source.OUTPUT.mkdir(exist_ok=True)
    for stale in source.OUTPUT.glob(f"{number:02}-*.txt"):
        stale.unlink()
    for path, text in play(number).items():
        path.write_text("\n".join(line.rstrip() for line in text.split("\n")))


def shape(text, words):
    """(lines in order, lines that count, as a set), with each number made 1. words: of the block: lines that match loose do not
    matter, nor does, with unordered, the order."""
    if "title" in words:  # a view: the kinds of events, without those that matter as little
        kinds = {re.sub(r".*? \d+ \d+ (\w+)(?:.*( step=\w+))?.*", r"\1\2", line) for line in text.split("\n") if line}
        return sorted(kind for kind in kinds if not re.fullmatch(words.get("loose", ""), kind)), set()
    loose = words.get("loose")
    lines = [re.sub(r"\b(0x[0-9a-f]+|[0-9a-f]{12,16}|\d[\d.,]*)\b", "1", " ".join(line.split())) for line in text.split("\n")]
    lines = [line for line in lines if line and not (loose and re.search(loose, line))]
    if "unordered" in words:
        return sorted(set(lines)), set()
    counters = {line for line in lines if re.fullmatch(r"[a-z_]+\d? 1", line)}
    return [line for line in lines if line not in counters], counters


def differences(number):
    """What has changed since it was recorded: [text]"""
    wrong = []
    words = {source.recorded(block, number): block.words for block in runs(number)}
    for path, text in play(number).items():
        if not path.exists():
            wrong.append(f"{path.name}: never recorded")
            continue
        (then, counted), (now, counting) = shape(path.read_text(), words[path]), shape(text, words[path])
        if then != now or (counted and len(counted & counting) < len(counted) * 3 / 4):
            wrong.append(f"{path.name}: recorded\n{path.read_text()}\nnow\n{text}")
    kept = {path for path in source.OUTPUT.glob(f"{number:02}-*.txt")} - set(words)
    return wrong + [f"{path.name}: no run in the chapter has that name" for path in sorted(kept)]
