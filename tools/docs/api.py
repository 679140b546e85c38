# SPDX-License-Identifier: GPL-2.0
"""Reference pages out of the kernel-doc comments of include/, host/ and launcher/, as the code stands at the end of the course."""
import html
import re
from dataclasses import dataclass, field

import chapter as chapters
from docs import listing

AREAS = {"api-include": ("The interface between guest, launcher and module", "include/ringlet/"),
         "api-host": ("The module", "host/"), "api-launcher": ("The launcher", "launcher/")}


@dataclass
class Entry:
    name: str           # f() or struct s
    brief: str
    file: str
    lines: tuple        # of the code that it describes
    parameters: list = field(default_factory=list)    # [(names, text)]
    paragraphs: list = field(default_factory=list)


def entries(file, text):
    """The kernel-doc comments of a file; one that is not as it should be is an error."""
    found = []
    for comment in re.finditer(r"^/\*\*\n(.*?)^ \*/\n", text, re.S | re.M):
        lines = [re.sub(r"^ \* ?", "", line).rstrip() for line in comment.group(1).rstrip("\n").split("\n")]
        head = re.match(r"((?:struct |enum )?\w+(?:\(\))?) - (.*)", lines[0])
        if not head:
            raise RuntimeError(f"{file}: {lines[0]!r}: a kernel-doc comment begins with `name() - what it does`")
        first = text.count("\n", 0, comment.end()) + 1
        end = re.compile(r"^};?.*$" if " " in head.group(1) else r"(?=^\{)|;$", re.M).search(text, comment.end()).end()
        last = text.count("\n", 0, end) + (1 if text[end - 1] != "\n" else 0)
        entry = Entry(head.group(1), head.group(2), file, (first, last))
        fill(entry, lines[1:])
        found.append(entry)
    return found


def fill(entry, lines):
    """Parameters, then paragraphs."""
    for part in re.split(r"\n\n|\n(?=@|Return:|Context:)", "\n".join(lines).strip("\n")):
        words = " ".join(part.split())
        parameter = re.match(r"(@[\w.]+(?:, @[\w.]+)*):\s*(.*)", words)
        if parameter:
            entry.parameters.append(parameter.groups())
        elif words:
            entry.paragraphs.append(words)


def prose(text):
    """A comment's words with its names as code."""
    text = re.sub(r"([*_<>\[\]|])", r"\\\1", text)
    text = re.sub(r"@(\w+(?:\\?-\\?>\w+|\.\w+)*)", lambda name: f"`{name.group(1)}`".replace("\\", ""), text)
    text = re.sub(r"(?<![`\w])((?:\w|\\_)+)\(\)", lambda name: f"`{name.group(1)}()`".replace("\\", ""), text)
    return re.sub(r"\b(Return|Context):", r"**\1:**", text)


def anchor(entry):
    return re.sub(r"\W+", "-", entry.name).strip("-")


def markdown(entry):
    code = listing.excerpt(chapters.LAST, entry.file, *entry.lines, mark=False)
    parts = [f"### `{entry.name}` {{#{anchor(entry)}}}", prose(entry.brief[:1].upper() + entry.brief[1:]) + ".",
             f"```{{=html}}\n{code}\n```"]
    if entry.parameters:
        cells = [(" ".join(f"<code>{name}</code>" for name in re.findall(r"@([\w.]+)", names)), html.escape(text)) for names, text in entry.parameters]
        rows = "".join(f"<tr><td>{names}</td><td>{text}</td></tr>" for names, text in cells)
        parts.append(f"```{{=html}}\n<table>{rows}</table>\n```")
    return "\n\n".join(parts + [prose(text) for text in entry.paragraphs])


def hypercalls(text):
    """The table of all hypercalls."""
    rows = re.findall(r"^#define RINGLET_HC_(\w+)\s+(\d+)\s*(?:/\*\s*(.*?)\s*\*/)?$", text, re.M)
    rows = [(number, name, words) for name, number, words in rows if name != "COUNT"]
    return ("## Hypercalls\n\n`rax` holds the number, `rbx`, `rcx`, `rdx` and `rsi` the arguments; the result comes back in `rax`, negative if it is an errno.\n\n"
            "| number | name | arguments |\n|---|---|---|\n" + "".join(f"| {number} | {name} | {prose(words)} |\n" for number, name, words in rows))


def pages():
    """[(name, Markdown)]"""
    tree = listing.tree(chapters.LAST)
    made = []
    for name, (title, folder) in AREAS.items():
        parts = [f"# {title}\n\nFrom the comments in `{folder}`."]
        if name == "api-include":
            parts.append(hypercalls(tree["include/ringlet/hypercall.h"]))
        for file in sorted(path for path in tree if path.startswith(folder) and path.endswith((".c", ".h"))):
            found = entries(file, tree[file])
            if found:
                parts.append(f"## `{file}`\n\n" + "\n\n".join(map(markdown, found)))
        made.append((name, "\n\n".join(parts)))
    return made
