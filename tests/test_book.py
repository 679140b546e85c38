# SPDX-License-Identifier: GPL-2.0
"""The book, its site, its slides, and the pages that step through a run: they build, nothing in them leads nowhere or is out of date,
and a browser can use them without a network."""
import json
import os
import re
import subprocess
import urllib.request
import zipfile

import pexpect
import pytest
from selenium.webdriver.support.ui import WebDriverWait

from conftest import ROOT
from docs import api, browser, build, check, listing, record, source, view  # noqa: E402
import chapter as chapters

NUMBERS = list(source.chapter_files())


def make(*words, **environment):
    return subprocess.run(["make", *words], cwd=ROOT, stdin=subprocess.DEVNULL, text=True, timeout=400, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def site():
    """build/site, made once. A listing whose symbol is gone, or a figure without text, ends it here."""
    result = make("site")
    assert result.returncode == 0, result.stdout[-3000:]
    return build.SITE


@pytest.fixture(scope="module")
def driver(site):
    with browser.browser() as driver:
        yield driver


def messages(driver):
    """What is wrong on a page's console."""
    return [row["message"] for row in driver.get_log("browser") if row["level"] in ("SEVERE", "WARNING")]


def phone(driver):
    """From now on a screen of 360 by 740."""
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True})


# Text

def test_no_link_leads_nowhere(site):
    """Guards links between pages, to places in pages, and the files that pages load."""
    assert check.links() == []


def test_spelling():
    """Guards all prose. Red: a word that neither aspell nor chapters/words.txt knows."""
    assert check.spelling() == []
    text = (ROOT / "chapters/words.txt").read_text().split()
    assert text == sorted(set(text)), "words.txt: each word once, sorted by `LC_ALL=C sort -u`"


def test_every_chapter_has_its_parts():
    """Guards the book's form: question, costs, a run, how others do it, what goes wrong, exercises, reading, and a figure."""
    for number, path in source.chapter_files().items():
        text, kinds = path.read_text(), [block.kind for block in source.blocks(path)]
        for part in "**The question of this chapter.**", "## What it costs", "## Run it", "## How others do it", "## When it goes wrong", "## Further reading":
            assert part in text, f"{path.name}: {part}"
        assert {"figure", "listing", "run"} <= set(kinds), path.name
        assert "## Exercises" in text or number == chapters.LAST, path.name


def test_a_lost_listing_is_named(capsys):
    """Guards the message when code that the book shows is renamed."""
    with pytest.raises(SystemExit):
        listing.listing(4, "host/walk.c", symbol="guest_wander")
    assert "no guest_wander there" in capsys.readouterr().err


def test_listing_marks_what_is_new():
    """Guards the marks and line numbers: chapter 9 adds these lines to queue_next(), at the lines where its tree has them."""
    text = listing.listing(9, "launcher/virtqueue.c", symbol="queue_next")
    new = re.findall(r'class="new" data-line="(\d+)"', text)
    lines = listing.tree(9)["launcher/virtqueue.c"].split("\n")
    assert "queue_interrupt(vq);" in [lines[int(number) - 1].strip() for number in new]
    assert "static" not in {lines[int(number) - 1].strip() for number in new}


def test_reference_has_every_comment():
    """Guards the reference: each kernel-doc comment of the three folders is on a page, with its parameters."""
    tree = listing.tree(chapters.LAST)
    counted = sum(text.count("\n/**\n") for name, text in tree.items() if name.startswith(("include/ringlet/", "host/", "launcher/"))
                  and name.endswith((".c", ".h")))
    text = "".join(markdown for _, markdown in api.pages())
    assert text.count("\n### ") == counted > 80
    walk = next(entry for entry in api.entries("host/walk.c", tree["host/walk.c"]) if entry.name == "guest_walk()")
    assert [names for names, _ in walk.parameters] == ["@vcpu", "@gva", "@error", "@walk"]
    assert walk.paragraphs[-1].startswith("Return: 0; -EFAULT")


def test_transport_page_is_the_header(tmp_path):
    """Guards the reference of the transport: each field of the header with its place, each hypercall's number, each line of a broken ring."""
    text = (ROOT / "chapters/transport.md").read_text()
    fields = {"ringlet_device_page": r"## The page: `struct ringlet_device_page`", "ringlet_device": r"## A device: `struct ringlet_device`",
              "ringlet_device_queue": r"times `struct ringlet_device_queue` follow", "ringlet_queue": r"### A queue: `struct ringlet_queue`"}
    header = (ROOT / "include/ringlet/device_page.h").read_text()
    rows, wanted = [], []
    for name, head in fields.items():
        table = text[re.search(head, text).end():].split("\n\n| ", 1)[1].split("\n\n", 1)[0]
        rows += [(name, *row) for row in re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", table, re.M)]
        body = re.search(rf"^struct {name} {{\n(.*?)^}};", header, re.S | re.M).group(1)
        wanted += [(name, field) for line in re.findall(r"__u\d+ (.*);", body) for field in line.split(", ")]
    assert [row[:2] for row in rows] == wanted
    checks = "".join(f"_Static_assert(offsetof(struct {name}, {field}) == {at} && sizeof(((struct {name} *)0)->{field}) == {size}, \"{name}.{field}\");\n"
                     for name, field, at, size in rows)
    (tmp_path / "check.c").write_text(f"#define CHAPTER 14\n#include <stddef.h>\n#include <ringlet/device_page.h>\n{checks}")
    result = subprocess.run(["gcc", "-fsyntax-only", f"-I{ROOT}/include", tmp_path / "check.c"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    numbers = dict(re.findall(r"#define RINGLET_HC_(DEVICE_\w+|NOTIFY)\s+(\d+)", (ROOT / "include/ringlet/hypercall.h").read_text()))
    assert {(name, number) for number, name in re.findall(r"^\| (\d+) \| (\w+) \|", text, re.M)} == set(numbers.items())
    lines = re.findall(r'(?:return|give_up\(vq,) "(.*?)"', (ROOT / "launcher/virtqueue.c").read_text())
    assert len(lines) > 8 and all(f"| {line} |" in text for line in lines)


@pytest.mark.parametrize("number", NUMBERS)
def test_outputs_are_current(number):
    """Guards what the book says that commands print. Red: change a message of the launcher without `make record`."""
    assert record.differences(number) == []


def test_pdf_and_epub():
    """Guards the printed book: all chapters, no word beyond the margin; and the EPUB's figures."""
    build.pdf()
    assert check.overfull() == []
    text = subprocess.run(["pdftotext", build.BOOK / "ringlet.pdf", "-"], capture_output=True, text=True, check=True).stdout
    for chapter in chapters.manifest():
        assert re.search(rf"\f{chapter.number}. {build.title_of(source.chapter_files()[chapter.number].read_text(), '')}\n", text), chapter
    with zipfile.ZipFile(build.epub()) as epub:
        pages = [epub.read(name).decode() for name in epub.namelist() if name.endswith(".xhtml")]
    assert sum(page.count("<svg") for page in pages) >= len(source.figures())
    assert not any("<iframe" in page for page in pages)


def test_site_is_served(site):
    """Guards `make site-serve`."""
    with subprocess.Popen([ROOT / "tools/book", "serve", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            with urllib.request.urlopen(server.stdout.readline().split()[0] + "09-notify.html", timeout=30) as page:
                assert b"<h1" in page.read()
        finally:
            server.terminate()


# The site in a browser

def test_pages_without_an_error(site, driver):
    """Guards every page: nothing on the console, nothing from elsewhere, and not wider than a phone."""
    phone(driver)
    for page in sorted(site.glob("*.html")):
        if page.name.startswith(("slides-", "view-")):
            continue
        driver.get(page.as_uri())
        assert messages(driver) == [], page.name
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 360, f"{page.name} is too wide"
        loaded = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert all(name.startswith(("file:", "data:")) for name in loaded), (page.name, loaded)
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_turning_pages(site, driver):
    """Guards previous and next: from the first page to the last and back, every page once."""
    driver.get((site / "index.html").as_uri())
    seen = [driver.current_url]
    while links := driver.find_elements("css selector", "a[rel=next]"):
        links[0].click()
        seen.append(driver.current_url)
    assert len(seen) == len(set(seen)) == len([page for page in site.glob("*.html") if not page.name.startswith(("slides-", "view-"))])
    while links := driver.find_elements("css selector", "a[rel=prev]"):
        links[0].click()
        assert driver.current_url == seen[seen.index(driver.current_url)]
    assert driver.current_url == seen[0]


def test_search_by_keyboard(site, driver):
    """Guards the search: / goes there, arrows and Enter open what was found, Escape leaves."""
    driver.get((site / "index.html").as_uri())
    body = driver.find_element("tag name", "body")
    body.send_keys("/")
    box = driver.switch_to.active_element
    assert box.get_attribute("id") == "search"
    box.send_keys("lost kick")
    found = [link.get_attribute("href") for link in driver.find_elements("css selector", "#found a")]
    assert any("09-notify" in link for link in found), found
    box.send_keys("\ue015")  # arrow down
    assert driver.switch_to.active_element.get_attribute("href") == found[0]
    driver.switch_to.active_element.send_keys("\ue007")  # Enter
    WebDriverWait(driver, 10).until(lambda driver: driver.current_url == found[0])
    box = driver.find_element("id", "search")
    box.send_keys("xylophone")
    assert driver.find_element("id", "found").text == "Nothing found"
    box.send_keys("\ue00c")  # Escape
    assert not driver.find_element("id", "found").is_displayed()


def test_dark_mode_stays(site, driver):
    """Guards the theme: it changes the colours, and the next page has it."""
    def colours():
        return driver.execute_script("return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('main')).color]")
    driver.get((site / "index.html").as_uri())
    before = colours()
    driver.find_element("id", "theme").click()
    assert all(old != new for old, new in zip(before, colours()))
    dark = colours()
    driver.find_element("css selector", "a[rel=next]").click()
    assert colours() == dark
    driver.find_element("id", "theme").click()


def test_listings_and_copies(site, driver):
    """Guards listings: their lines are numbered as in the tree, and what is copied is the code, or of a run what was typed."""
    driver.get((site / "04-shadow.html").as_uri())
    figure = driver.execute_script("""return [...document.querySelectorAll('.listing')].map(figure => [figure.querySelector('code').textContent,
        [...figure.querySelectorAll('pre code span[data-line]')].map(row => [Number(row.dataset.line), row.textContent])])""")
    for file, rows in figure:
        lines = listing.tree(4)[file].split("\n")
        assert all(lines[number - 1].expandtabs().rstrip() == text.rstrip() for number, text in rows), file
    assert len(figure) > 4
    texts = driver.execute_script("return [...document.querySelectorAll('pre.run')].map(text)")
    assert texts[0].startswith("ringlet run -k /guest/tiny/paging") and "on page tables" not in texts[0]
    buttons = driver.find_elements("css selector", "button.copy")
    assert len(buttons) == driver.execute_script("return document.querySelectorAll('pre').length")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", buttons[0])
    buttons[0].click()
    browser.wait(driver, "return document.querySelector('button.copy').textContent === 'Copied'", "the button does not say that it copied")


def test_the_menu_of_a_phone(site, driver):
    """Guards the contents on a narrow screen: hidden, and there when asked for."""
    phone(driver)
    driver.get((site / "04-shadow.html").as_uri())
    nav, menu = driver.find_element("id", "nav"), driver.find_element("id", "menu")
    assert not nav.is_displayed()
    menu.click()
    assert nav.is_displayed() and menu.get_attribute("aria-expanded") == "true"
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("deck", [path.stem for path in build.deck_files()])
def test_deck(site, driver, deck):
    """Guards each deck: it is complete in itself, has speaker's notes, and no slide is higher than the screen, so that its PDF has a page each."""
    page = site / f"slides-{deck}.html"
    driver.get(page.as_uri())
    browser.wait(driver, "return window.Reveal && Reveal.isReady()", "the deck does not start")
    assert messages(driver) == []
    loaded = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith("data:") for name in loaded), loaded
    slides = driver.execute_script("return Reveal.getTotalSlides()")
    assert slides >= 15
    assert driver.execute_script("return document.querySelectorAll('aside.notes').length") >= (slides // 3 if deck[0].isdigit() else 1)
    driver.get(f"{page.as_uri()}?print-pdf&pdfSeparateFragments=false")
    browser.wait(driver, "return document.querySelectorAll('.pdf-page').length", "the deck cannot be printed")
    assert driver.execute_script("return document.querySelectorAll('.pdf-page').length") == slides


def test_deck_as_pdf(site, driver, tmp_path):
    """Guards the printing of decks."""
    browser.print_deck(driver, site / "slides-09-notify.html", tmp_path / "deck.pdf")
    text = subprocess.run(["pdftotext", tmp_path / "deck.pdf", "-"], capture_output=True, text=True, check=True).stdout
    assert text.count("\f") >= 15 and "make start LAB=09" in text


def test_slides_that_are_demos():
    """Guards the live slides: each says what to type, and that is a target with that chapter."""
    for path in build.deck_files():
        if path.name[:2].isdigit():
            text = path.read_text()
            assert re.search(r"^## Live", text, re.M), path.name
            assert re.search(rf"make (demo|view|debug|run|ch\d\d)\b", text), path.name


# Demos

def test_demo_for_an_audience():
    """Guards `make demo`: a key for each step; what comes is readable from afar; q leaves, and the machine is gone."""
    with pexpect.spawn("make", ["demo", "CH=2"], cwd=str(ROOT), encoding="utf-8", timeout=200, dimensions=(24, 80)) as demo:
        demo.expect("chapter 2: .* 0/3")
        demo.send(" ")
        demo.expect("1/3")
        demo.expect("hello from ring 1")
        demo.send(" ")
        demo.expect("2/3")
        demo.expect("it ended with 0")
        demo.send("q")
        demo.expect(pexpect.EOF)
    assert demo.exitstatus == 0


def test_demo_without_a_terminal():
    """Guards a rehearsal: all steps in a row, no line wider than what is readable."""
    result = make("demo", "CH=4")
    assert result.returncode == 0 and "after a flush I see 2222" in result.stdout
    assert max(len(line) for line in result.stdout.split("\n") if not line.startswith("  ")) <= 78


# A run to step through

def test_view_of_a_recorded_run(site, driver):
    """Guards the embedded pages: keys step through worlds, shadow pages and rings, and each step shows its line of source."""
    driver.get((site / "view-04-view.html").as_uri())
    assert messages(driver) == []
    count = driver.execute_script("return steps.length")
    seen = set()
    for number in range(count):
        title = driver.find_element("id", "title").text
        seen.add(title.split(":")[0])
        marked = driver.execute_script("return [...document.querySelectorAll('#sources figure')].map(figure => figure.querySelectorAll('.at').length)")
        assert marked and set(marked) == {1}, (title, marked)
        driver.find_element("tag name", "body").send_keys("\ue014")  # arrow right
    assert {"The guest is entered", "The guest is left from ring 1", "A shadow page is filled", "Shadow entries are dropped"} <= seen
    # What a reader must see at the end: the window shows the other page.
    assert ["40000000", "102000", "1"] in driver.execute_script("return [...document.querySelectorAll('#pages tbody tr')].map(row => [...row.children].map(cell => cell.textContent))")


def test_view_of_a_queue(site, driver):
    """Guards the rings: after a publish, the used ring shows what was put there, and both indexes agree."""
    driver.get((site / "view-09-view.html").as_uri())
    assert messages(driver) == []
    at = driver.execute_script("return steps.findIndex(step => step.event.step === 'publish')")
    driver.execute_script("show(arguments[0])", at)
    heads = driver.execute_script("return [...document.querySelectorAll('#ring .head')].map(text => text.textContent)")
    event = driver.execute_script("return steps[arguments[0]].event", at)
    assert heads[0] == f"available, idx = {event['avail']}" and heads[2] == f"used, idx = {event['used']}"
    assert event["avail"] == event["used"]
    used = driver.execute_script("return [...document.querySelectorAll('#ring .used g')].map(row => row.textContent)")
    assert f"[{int(event['used']) - 1}] 0, 64" in used, used


def test_view_of_a_new_run():
    """Guards `make view`: the page, the trace for Perfetto and the one for trace-cmd hold the same events."""
    result = make("view", "CH=4")
    assert result.returncode == 0, result.stdout[-3000:]
    found = view.events(view.report(ROOT / "build/view/trace.dat"))
    assert [event.name for event in found].count("fill") >= 8
    rows = json.loads((ROOT / "build/view/trace.json").read_text())["traceEvents"]
    instants = [row for row in rows if row["ph"] == "i"]
    assert [row["name"] for row in instants] == [event.name for event in found]
    assert all(a["ts"] <= b["ts"] for a, b in zip(instants, instants[1:]))
    guest = [row for row in rows if row["ph"] == "X"]
    assert len(guest) == [event.name for event in found].count("exit") - 1 and all(row["dur"] >= 0 for row in guest)
    assert "RUN = {" in (ROOT / "build/view/ringlet.html").read_text()


def test_view_says_what_is_wrong():
    """Guards the messages for a chapter without a guest, and for a pattern that no event matches."""
    assert "CH=0: no chapter with a guest" in make("view", "CH=0").stdout
    assert "no event of this run matches 'xyz'" in make("view", "CH=4", AROUND="xyz").stdout
