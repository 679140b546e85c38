# SPDX-License-Identifier: GPL-2.0
"""What must hold of the finished site and book: no link without a target, no word out of the page, every deck complete in itself,
no word that neither the dictionary nor chapters/words.txt knows."""
import re
import subprocess
from html.parser import HTMLParser

from docs import build
from kit import ROOT

MARGIN = 51  # points: the PDF's, of style.css
WORDS = ROOT / "chapters/words.txt"


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        names = dict(attributes)
        if names.get("id"):
            self.ids.add(names["id"])
        if tag == "a" and names.get("href"):
            self.links.append(names["href"])
        self.loads += [names[key] for key in ("src", "data-src") if names.get(key)]
        if tag == "link" and names.get("href"):
            self.loads.append(names["href"])


def links():
    """Links and files of all pages that lead nowhere: [text]"""
    pages = {path.name: Page(path) for path in build.SITE.glob("*.html")}
    wrong = []
    for name, page in pages.items():
        for link in page.links:
            file, _, id = link.partition("#")
            if re.match(r"[a-z]+:", link) or (name.startswith("slides-") and link.startswith("#")):
                continue
            target = pages.get(file or name)
            if target is None and not (build.SITE / file).exists():
                wrong.append(f"{name}: {link}: no such page")
            elif target and id and id not in target.ids:
                wrong.append(f"{name}: {link}: no such place")
        for load in page.loads:
            if not load.startswith("data:") and not (build.SITE / load).exists():
                wrong.append(f"{name}: needs {load}")
    return wrong


def overfull():
    """Words of the PDF that stand in its margin: [text]"""
    text = subprocess.run(["pdftotext", "-bbox", build.BOOK / "ringlet.pdf", "-"], capture_output=True, text=True, check=True).stdout
    wrong, page, width = [], 0, 0.0
    for line in text.split("\n"):
        if found := re.search(r'<page width="([\d.]+)"', line):
            page, width = page + 1, float(found.group(1))
        elif (found := re.search(r'xMax="([\d.]+)".*?>(.*?)</word>', line)) and float(found.group(1)) > width - MARGIN + 2:
            wrong.append(f"page {page}: {found.group(2)}")
    return wrong


def prose(path):
    """A Markdown file without code, addresses and attributes."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.S | re.M)
    text = re.sub(r"^---\n.*?^---$|`[^`]*`|\]\([^)]*\)|^ {4}.*|\{[#.][^}]*\}", " ", text, flags=re.S | re.M)
    return re.sub(r"\b[\w-]*[\d_][\w-]*\b", " ", text)


def spelling():
    """Words that nobody knows: [text]"""
    known = set(WORDS.read_text().split()) if WORDS.exists() else set()
    wrong = []
    files = [*(ROOT / "chapters").glob("*.md"), *(ROOT / "slides").glob("*.md"), *(ROOT / "labs").glob("*/README.md")]
    for path in sorted(files):
        odd = subprocess.run(["aspell", "list", "--lang=en_GB", "--mode=none", "--encoding=utf-8"], input=prose(path),
                             capture_output=True, text=True, check=True).stdout.split()
        odd = {word.removesuffix("'s").removesuffix("’s") for word in odd} - known
        wrong += [f"{path.relative_to(ROOT)}: {word}" for word in sorted(odd)]
    return wrong
