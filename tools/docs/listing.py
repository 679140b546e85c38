# SPDX-License-Identifier: GPL-2.0
"""A piece of a source as it stands at the end of a chapter, found by its symbol or by its first and last line, as HTML with true line
numbers and what the chapter adds marked."""
import difflib
import functools
import html
import json
import re
import subprocess
import tempfile
from pathlib import Path

import pygments
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename

import chapter as chapters
from kit import die

WIDEST = 100  # columns; more does not fit a printed page


@functools.cache
def tree(number):
    return {name: text.decode() for name, text in chapters.contents(number).items()} if number >= 0 else {}


@functools.cache
def symbols(number, file):
    """{symbol: (first line, last line)} of a file."""
    text = tree(number)[file]
    found = {}
    if file.endswith((".S", ".lds")):
        lines = text.split("\n")
        marks = [(match.group(1), at) for at, line in enumerate(lines, 1)
                 if (match := re.match(r"(?:SYM_\w*START\w*\(|STACK_FRAME_NON_STANDARD\()?(\.?[A-Za-z_]\w*)(?::|\))", line))]
        ends = {match.group(1): at for at, line in enumerate(lines, 1) if (match := re.match(r"SYM_\w*END\w*\((\w+)\)", line))}
        for (name, at), following in zip(marks, [at for _, at in marks[1:]] + [len(lines) + 1]):
            found.setdefault(name, (at, ends.get(name, last_of(lines, at, following))))
        return found
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(file).name
        path.write_text(text)
        output = subprocess.run(["ctags", "--output-format=json", "--fields=+ne", "--kinds-C=+px", "-f", "-", path], check=True,
                                capture_output=True, text=True).stdout
    for tag in map(json.loads, output.splitlines()):
        if tag["kind"] not in ("member", "enumerator", "prototype", "externvar"):
            found[tag["name"]] = (tag["line"], tag.get("end", tag["line"]))
    return found


def last_of(lines, first, following):
    """The last line before `following` that is neither blank, nor a comment, nor a directive for what follows."""
    at = following - 1
    while at > first and re.match(r"\s*($|/?\*|\.globl|\.balign|#\s*(if|endif))", lines[at - 1]):
        at -= 1
    return at


def with_comment(lines, first):
    """The line where the comment above a symbol begins, or a function's own first line."""
    at = first
    while at > 1 and re.match(r"(static|__\w+|\w[\w\s*]*)$|\s*\.(globl|balign)", lines[at - 2]) and lines[at - 2].strip():
        at -= 1
    if at > 1 and lines[at - 2].rstrip().endswith("*/"):
        while at > 1 and "/*" not in lines[at - 2]:
            at -= 1
        at -= 1
    return at


def locate(number, file, symbol=None, first=None, last=None, comment=True):
    """(first line, last line) of what is asked for; an error that names it, if it is not there (any more)."""
    where = f"chapter {number}: listing of {file}"
    if file not in tree(number):
        die(f"{where}: no such file in the tree of that chapter")
    lines = tree(number)[file].split("\n")
    if symbol:
        if symbol not in symbols(number, file):
            die(f"{where}: no {symbol} there", f"it has {', '.join(sorted(symbols(number, file)))}")
        begin, end = symbols(number, file)[symbol]
        return (with_comment(lines, begin) if comment else begin), end
    begin = next((at for at, line in enumerate(lines, 1) if re.search(first, line)), None)
    if begin is None:
        die(f"{where}: no line matches {first!r}")
    end = next((at for at, line in enumerate(lines[begin - 1:], begin) if re.search(last or first, line)), None)
    if end is None:
        die(f"{where}: behind line {begin}, none matches {last!r}")
    return begin, end


@functools.cache
def new_lines(number, file):
    """The lines of a file that its chapter adds; none if all of it is new."""
    before = tree(number - 1).get(file)
    if before is None:
        return frozenset()
    matcher = difflib.SequenceMatcher(None, before.split("\n"), tree(number)[file].split("\n"), autojunk=False)
    return frozenset(line for tag, _, _, begin, end in matcher.get_opcodes() if tag in ("insert", "replace")
                     for line in range(begin + 1, end + 1))


def highlighted(file, text):
    lexer = get_lexer_for_filename("x.s" if file.endswith(".S") else "x.c" if file.endswith((".h", ".lds")) else file, stripnl=False)
    lexer.stripall = False
    return pygments.highlight(text, lexer, HtmlFormatter(nowrap=True)).rstrip("\n").split("\n")


def listing(number, file, **what):
    """The listing of a symbol or of lines as HTML."""
    return excerpt(number, file, *locate(number, file, **what))


def excerpt(number, file, first, last, mark=True):
    """Lines of a file as HTML, if mark with what its chapter adds."""
    lines = tree(number)[file].split("\n")[first - 1:last]
    for at, line in enumerate(lines, first):
        if len(line.expandtabs()) > WIDEST:
            die(f"{file}:{at}: {len(line.expandtabs())} columns; a listing has room for {WIDEST}")
    marked = new_lines(number, file) if number and mark else frozenset()
    if all(line in marked for line in range(first, last + 1)):
        marked = frozenset()
    rows = []
    for at, line in enumerate(highlighted(file, "\n".join(lines).expandtabs()), first):
        new = ' class="new"' if at in marked else ""
        rows.append(f'<span{new} data-line="{at}">{line}\n</span>')
    note = "; what this chapter adds is marked" if marked else ""
    title = f"<code>{html.escape(file)}</code>, lines {first} to {last}{note}" if last > first else f"<code>{html.escape(file)}</code>, line {first}{note}"
    return (f'<figure class="listing"><figcaption>{title}</figcaption>'
            f'<pre tabindex="0"><code>{"".join(rows)}</code></pre></figure>')
