# SPDX-License-Identifier: GPL-2.0
"""Pages, PDF, EPUB and decks out of the Markdown, by pandoc 2.17 or later."""
import functools
import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import chapter as chapters
from kit import BUILD, ROOT, say, step, write_if_changed
from docs import api, browser, source, view

HERE = Path(__file__).parent
SITE = BUILD / "site"
BOOK = BUILD / "book"
FROM = "markdown-implicit_figures"


@dataclass
class Page:
    name: str          # its file is name.html
    title: str
    markdown: str      # or, if body, nothing
    group: str = ""
    body: str = ""


def title_of(markdown, fallback):
    found = re.search(r"^# (.*?)(?: \{.*\})?$", markdown, re.M)
    return found.group(1) if found else fallback


def pages():
    """All pages of the site but the decks, in reading order."""
    found = [page_of(ROOT / "chapters/index.md", "index", "")]
    found += [page_of(path, path.stem, "Chapters") for _, path in sorted(source.chapter_files().items())]
    found += [page_of(path, "lab-" + path.parent.name, "Labs") for path in sorted((ROOT / "labs").glob("*/README.md"))]
    found += [page_of(path, path.stem, "Teaching") for path in sorted((ROOT / "slides").glob("*.md"))
              if not path.name[:2].isdigit() and not path.name.startswith("deck-")]
    found.append(page_of(ROOT / "chapters/transport.md", "transport", "Reference"))
    return found + [Page(name, title_of(text, name), text, "Reference") for name, text in api.pages()]


def numbered(path, book=False):
    """A chapter's Markdown, its title with its number."""
    number = source.number_of(path)
    id = f" {{#ch-{number:02}}}" if book else ""
    return re.sub(r"^# (.*)$", rf"# {number}. \1{id}", source.expanded(path, book=book), count=1, flags=re.M)


def page_of(path, name, group):
    markdown = numbered(path) if group == "Chapters" else source.expanded(path)
    return Page(name, title_of(markdown, name), markdown, group)


@functools.cache
def options():
    """(no highlighting, one complete file) in this pandoc's words: warnings are errors, and old words are warnings."""
    text = subprocess.run(["pandoc", "--version"], capture_output=True, text=True, check=True).stdout
    version = tuple(map(int, re.match(r"pandoc\S* (\d+)\.(\d+)", text).groups()))
    return (["--syntax-highlighting=none"] if version >= (3, 8) else ["--no-highlight"],
            ["--embed-resources", "--standalone"] if version >= (2, 19) else ["--self-contained"])


def pandoc(markdown, *words, to="html5", out=None):
    """Convert; warnings are errors. Return what it writes, unless it goes to a file."""
    command = ["pandoc", "-f", FROM, "-t", to, *options()[0], "--fail-if-warnings", "--lua-filter", HERE / "links.lua", *words]
    result = subprocess.run([*map(str, command), *(["-o", str(out)] if out else [])], input=markdown, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"pandoc: {result.stderr.strip()}")
    return result.stdout


def navigation(found, current):
    rows, group = [], None
    for page in found:
        if page.group != group:
            rows.append(("</ul>" if group is not None else "") + (f"<h2>{page.group}</h2>" if page.group else "") + "<ul>")
            group = page.group
        here = ' aria-current="page"' if page is current else ""
        rows.append(f'<li><a href="{page.name}.html"{here}>{html.escape(page.title)}</a></li>')
    return "\n".join(rows) + "</ul>"


class Sections(HTMLParser):
    """What the search knows: each section's heading, place and words."""

    def __init__(self, page):
        super().__init__()
        self.page, self.found, self.heading = page, [], False
        self.section("", page.title)

    def section(self, id, title=""):
        url = f"{self.page.name}.html" + (f"#{id}" if id else "")
        self.found.append({"id": url, "url": url, "page": self.page.title, "title": title, "text": ""})

    def handle_starttag(self, tag, attributes):
        names = dict(attributes)
        if tag in ("h2", "h3") and names.get("id"):
            self.section(names["id"])
            self.heading = True

    def handle_endtag(self, tag):
        self.heading &= tag not in ("h2", "h3")

    def handle_data(self, data):
        self.found[-1]["title" if self.heading else "text"] += data


def site():
    """The site, in build/site; opened from there it needs nothing else."""
    shutil.rmtree(SITE, ignore_errors=True)
    SITE.mkdir(parents=True)
    found, sections = pages(), []
    decks = slides()
    found.insert(len([page for page in found if page.group in ("", "Chapters", "Labs")]), deck_page(decks))
    for at, page in enumerate(found):
        words = ["--template", HERE / "page.html", "-V", f"pagetitle={page.title}", "-V", f"navigation={navigation(found, page)}"]
        for name, other in ("previous", found[at - 1] if at else None), ("next", found[at + 1] if at + 1 < len(found) else None):
            if other:
                words += ["-V", f"{name}={other.name}.html", "-V", f"{name}-title={other.title}"]
        if page.markdown.count("\n## ") > 2:
            words += ["--toc", "--toc-depth=2"]
        text = pandoc(page.markdown, *words)
        (SITE / f"{page.name}.html").write_text(text)
        parser = Sections(page)
        parser.feed(re.search(r"<main.*</main>", text, re.S).group().split('<nav class="turn"')[0])
        sections += parser.found
    views = 0
    for number in source.chapter_files():
        for block in source.view_blocks(number):
            path = source.recorded(block, number)
            view.page(number, view.read(path), block.words["title"], SITE / f"view-{path.stem}.html")
            views += 1
    for name in "style.css", "site.js":
        shutil.copy(HERE / name, SITE)
    shutil.copy(source.node_modules() / "minisearch/dist/umd/index.js", SITE / "minisearch.js")
    (SITE / "search-data.js").write_text(f"const SEARCH_DATA = {json.dumps(sections, ensure_ascii=False)};\n")
    say(f"  site: {len(found)} pages, {len(decks)} decks, {views} runs to step through, {len(sections)} sections to search: {SITE.relative_to(ROOT)}/index.html")


def whole():
    """The chapters as one Markdown text; each one's heading has the id ch-NN."""
    return "\n\n".join(numbered(path, book=True) for _, path in sorted(source.chapter_files().items()))


def pdf():
    BOOK.mkdir(parents=True, exist_ok=True)
    page = BOOK / "ringlet.html"
    pandoc(whole(), "-s", "-M", "single=1", "-M", "title=Ringlet", "-M", "subtitle=A hypervisor to learn from", "-M", "lang=en",
           "--toc", "--toc-depth=2", "--css", HERE / "style.css", out=page)
    page.write_text(page.read_text().replace("<body>", '<body class="book">', 1))
    step("PDF", ["weasyprint", page, BOOK / "ringlet.pdf"])
    return BOOK / "ringlet.pdf"


def epub():
    BOOK.mkdir(parents=True, exist_ok=True)
    pandoc(whole(), "-M", "single=1", "-M", "title=Ringlet", "-M", "lang=en", "--toc", "--css", HERE / "style.css",
           to="epub3", out=BOOK / "ringlet.epub")
    return BOOK / "ringlet.epub"


def deck_files():
    return sorted(path for path in (ROOT / "slides").glob("*.md") if path.name[:2].isdigit() or path.name.startswith("deck-"))


def slides():
    """Each deck as one file that needs no other: {name: title}"""
    made = {}
    reveal = source.node_modules() / "reveal.js"
    SITE.mkdir(parents=True, exist_ok=True)
    for path in deck_files():
        text = source.selected(path)
        out = SITE / f"slides-{path.stem}.html"
        pandoc(text, "-s", *options()[1], "--slide-level=2", "-V", f"revealjs-url={reveal}", "-V", "theme=white",
               "-V", "transition=none", "-V", "center=false", "-V", "width=1280", "-V", "height=720", "-V", "hash=true",
               "--css", HERE / "slides.css", "-M", "lang=en", to="revealjs", out=out)
        made[path.stem] = title_of(text, re.search(r"^title: (.*)$", text, re.M).group(1))
    return made


def slides_pdf():
    """The decks as PDF, in build/book."""
    BOOK.mkdir(parents=True, exist_ok=True)
    with browser.browser() as driver:
        for name in slides():
            browser.print_deck(driver, SITE / f"slides-{name}.html", BOOK / f"slides-{name}.pdf")
    return BOOK


def deck_page(decks):
    rows = "".join(f"- [{title}](slides-{name}.html){{.deck}}\n" for name, title in decks.items())
    return Page("slides", "Slides", "# Slides\n\nOne deck per chapter, each one file that works without a network. `S` opens the speaker's "
                "notes, `?` shows the other keys. `make book` prints them, too, as PDF.\n\n" + rows, "Teaching")
