# SPDX-License-Identifier: GPL-2.0
"""The Markdown of chapters and decks, and what its fenced blocks become:

```{.listing file=host/walk.c symbol=walk}              a symbol with the comment above it (bare=1: without), or
```{.listing file=host/walk.c first=REGEX last=REGEX}   lines; both from the tree at that chapter's state; CH=7: another's
```{.figure #id title="..." alt="..."}                  ASCII art, drawn by aasvg; {.figure ref=id} shows it again
```{.lab}                                               the exercises of that chapter's lab, from its rubric
```{.run #name}                                         commands in that chapter's host and what came, from
                                                        chapters/output/NN-name.txt; empty: the chapter's demo;
                                                        on=workstation, on=gdb (at=14: of that chapter's system)
```{.view #name title="..." around=REGEX before=20 after=100 loose=REGEX}
                                                        a command of which the trace becomes a page to step through: the
                                                        events around the first that matches, from chapters/output"""
import functools
import html
import re
import shlex
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import chapter as chapters
from kit import BUILD, ROOT, die, step
from docs import listing

OUTPUT = ROOT / "chapters/output"
NODE = BUILD / "docs/node_modules"
BLOCK = re.compile(r"^```+ ?\{\.(listing|figure|run|lab|view)\b([^\n]*)\}\n(.*?)^```+$", re.S | re.M)
PROMPTS = {"host": "host# ", "workstation": "$ ", "gdb": "(gdb) "}


@dataclass
class Block:
    kind: str
    words: dict
    text: str
    where: str

    @property
    def id(self):
        return self.words.get("id", "")


def blocks(path):
    """The fenced blocks of a Markdown file that are ours."""
    text = path.read_text()
    found = [parsed(found, path) for found in BLOCK.finditer(text)]
    heads = re.findall(r"^```+ ?\{\.(?:listing|figure|run|lab|view)\b.*", text, re.M)
    broken = [head for head in heads if not head.endswith("}")]
    if broken or len(heads) != len(found):
        die(f"{path.name}: a block is not as it should be: {(broken or heads)[0][:70]}", "see the head of tools/docs/source.py")
    return found


def parsed(found, path):
    kind, head, text = found.groups()
    words = {}
    for word in shlex.split(head):
        name, equals, value = word.partition("=")
        words["id" if word.startswith("#") else name] = word[1:] if word.startswith("#") else value if equals else "1"
    return Block(kind, words, text, f"{path.name}: {kind}")


def chapter_files():
    """{number: path} of the chapters that are written."""
    return {chapter.number: path for chapter in chapters.manifest() if (path := ROOT / f"chapters/{chapter}.md").exists()}


def number_of(path):
    return int(re.match(r"(\d\d)-", path.name).group(1)) if re.match(r"\d\d-", path.name) else chapters.LAST


@functools.cache
def figures():
    """{id: block} of all figures in the book."""
    found = {}
    for path in sorted((ROOT / "chapters").glob("*.md")):
        for block in blocks(path):
            if block.kind == "figure" and block.id:
                if block.id in found:
                    die(f"{path.name}: figure {block.id} stands in the book twice")
                found[block.id] = block
    return found


def node_modules():
    """Vendored at build time, as package-lock.json pins them."""
    here = Path(__file__).parent
    stamp = NODE.parent / "installed"
    wanted = (here / "package-lock.json").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        NODE.parent.mkdir(parents=True, exist_ok=True)
        for name in "package.json", "package-lock.json":
            (NODE.parent / name).write_text((here / name).read_text())
        step("npm packages", ["npm", "ci", "--prefix", NODE.parent, "--no-audit", "--no-fund"])
        stamp.write_text(wanted)
    return NODE


@functools.cache
def svg(text):
    """ASCII art as SVG whose colours are the page's."""
    drawn = subprocess.run(["node", node_modules() / "aasvg/main.js"], input=text.expandtabs(), capture_output=True,
                           text=True, check=True).stdout
    drawn = re.sub(r"<style>.*?</style>\n?", "", drawn, flags=re.S).strip()
    # As attributes, since PDF and EPUB do not look into a style sheet for what is inside a drawing.
    drawn = drawn.replace("<svg ", '<svg color="#1c1d21" fill="none" stroke="currentColor" ', 1)
    drawn = drawn.replace("<polygon ", '<polygon fill="currentColor" stroke="none" ')
    return drawn.replace('<g class="text">', '<g font-family="DejaVu Sans Mono, monospace" font-size="13" text-anchor="middle" '
                         'fill="currentColor" stroke="none">')


def figure(block):
    if "ref" in block.words:
        if block.words["ref"] not in figures():
            die(f"{block.where}: no figure {block.words['ref']} in the book")
        block = figures()[block.words["ref"]]
    title, alt = block.words.get("title", ""), block.words.get("alt", "")
    if not title or len(alt) < 20:
        die(f"{block.where} {block.id}: a figure needs a title and a text alternative")
    drawing = svg(block.text).replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" ', 1)
    return f'<figure class="drawing" id="{block.id}">{drawing}<figcaption>{html.escape(title)}</figcaption></figure>'


def commands(block, number):
    """The lines that a run types; for an empty block, the chapter's demo."""
    if block.text.strip():
        return [line for line in block.text.strip().split("\n")]
    return chapters.manifest()[number].demo.strip().split("\n")


def recorded(block, number):
    """The file that holds what a run printed."""
    if not block.id:
        die(f"{block.where}: a run needs a name, {{.run #name}}")
    return OUTPUT / f"{number:02}-{block.id}.txt"


def run(block, number):
    path = recorded(block, number)
    if not path.exists():
        die(f"{block.where} {block.id}: no {path.relative_to(ROOT)}", f"make record CH={number} runs it and notes what came")
    prompt = PROMPTS[block.words.get("on", "host")]
    rows = []
    for line in path.read_text().rstrip("\n").split("\n"):
        text = html.escape(line)
        rows.append(f'<b>{text}</b>' if line.startswith((prompt, "> ")) else text)
    return '<pre class="run" tabindex="0"><code>{}</code></pre>'.format("\n".join(rows))


def view_blocks(number):
    """The views of a chapter."""
    path = chapter_files().get(number)
    return [block for block in blocks(path) if block.kind == "view"] if path else []


def window_of(block):
    """Which events a view shows, as keywords for view.window()."""
    numbers = {key: int(block.words[key]) for key in ("before", "after") if key in block.words}
    return {**({"around": block.words["around"]} if "around" in block.words else {}), **numbers}


def view_frame(block, number, book):
    path = recorded(block, number)
    if not path.exists():
        die(f"{block.where} {block.id}: no {path.relative_to(ROOT)}", f"make record CH={number} runs it and notes what came")
    title, count = html.escape(block.words.get("title", "")), len(path.read_text().splitlines())
    if not title:
        die(f"{block.where} {block.id}: a view needs a title")
    if book:
        return f'<p class="note">On the site, and with <code>make view CH={number}</code>, this run can be stepped through: {title}, {count} events.</p>'
    page = f"view-{path.stem}.html"
    return (f'<figure class="frame"><iframe src="{page}" title="{title}" loading="lazy"></iframe><figcaption>{title}: a recorded run of {count} events. '
            f'<a href="{page}">On a page of its own</a>; <code>make view CH={number}</code> records one of yours.</figcaption></figure>')


def lab(number):
    rubric = tomllib.loads(next((ROOT / "labs").glob(f"{number:02}-*/rubric.toml")).read_text())
    rows = "".join(f"<tr><td>{row['id']}</td><td>{html.escape(row['title'])}</td></tr>" for row in rubric["exercise"])
    return f'<table class="lab">{rows}</table>\n<p><code>make start LAB={number:02}</code></p>'


def expanded(path, number=None, book=False):
    """A file's Markdown with our blocks made HTML. book: for paper, where nothing moves."""
    number = number_of(path) if number is None else number
    blocks(path)

    def replace(found):
        block = parsed(found, path)
        state = int(block.words.get("CH", number))
        if block.kind == "listing":
            keys = {key: block.words[key] for key in ("symbol", "first", "last") if key in block.words}
            text = listing.listing(state, block.words.get("file", ""), comment="bare" not in block.words, **keys)
        elif block.kind == "figure":
            text = figure(block)
        elif block.kind == "lab":
            text = lab(state)
        elif block.kind == "view":
            text = view_frame(block, state, book)
        else:
            text = run(block, state)
        return f"```{{=html}}\n{text}\n```"
    # An id that begins with a digit, as exercises have, is one for pandoc 3, and plain text for 2.
    text = re.sub(r"^(#+ .*?) \{#(\d[\d.]*)\}$", r'```{=html}\n<a id="\2"></a>\n```\n\n\1', path.read_text(), flags=re.M)
    return BLOCK.sub(replace, text)


SLIDE_LINES = 30  # of a listing that a slide has room for
LARGE_LINES, LARGE_COLUMNS = 14, 80  # of one that is shown larger


def deck_slides(path):
    """{title: Markdown} of a deck, its blocks made HTML."""
    parts = re.split(r"^(?=## )", expanded(path), flags=re.M)[1:]
    return {re.match(r"## (.*?)(?: \{.*\})?$", part, re.M).group(1): part for part in parts}


def selected(path):
    """A deck's Markdown. A line `@ 04-shadow: Title` takes a slide from another deck."""
    text = expanded(path)

    def take(found):
        deck, title = found.groups()
        other = deck_slides(ROOT / f"slides/{deck}.md")
        if title not in other:
            die(f"{path.name}: {deck} has no slide {title!r}", f"it has {', '.join(other)}")
        return other[title]
    text = re.sub(r"^@ (\S+): (.*)$", take, text, flags=re.M)
    return "".join(sized(part, path) for part in re.split(r"^(?=## )", text, flags=re.M))


def sized(slide, path):
    """A slide, its listings as large as they can be."""
    lines = []
    for figure in re.findall(r"<figure class=\"listing\">.*?</figure>", slide, re.S):
        lines += html.unescape(re.sub(r"<figcaption.*</figcaption>|<[^>]*>", "", figure)).strip("\n").split("\n")
    if len(lines) > SLIDE_LINES:
        die(f"{path.name}: {len(lines)} lines of listings on a slide", f"it has room for {SLIDE_LINES}: use first= and last=")
    large = len(lines) <= LARGE_LINES and max(map(len, lines), default=0) <= LARGE_COLUMNS
    return slide.replace('class="listing"', 'class="listing large"') if large else slide
