# SPDX-License-Identifier: GPL-2.0
"""The build-up: each chapter's tree holds what belongs there and nothing else, builds without a warning, boots and shows
its demo; each step is small enough to be read."""
import re
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import chapter as chapters  # noqa: E402

ALL = [chapter.number for chapter in chapters.manifest()]


@pytest.mark.parametrize("number", ALL)
def test_chapter_runs(number, capfd):
    """Guards the demo of each chapter, and that its code compiles without a warning."""
    assert chapters.check(chapters.manifest()[number]), capfd.readouterr().err


@pytest.mark.parametrize("number", ALL)
def test_nothing_from_later_chapters(number):
    """Guards the restriction: no file, hypercall or conditional of a later chapter in a chapter's tree."""
    files = chapters.contents(number)
    text = b"\n".join(files.values()).decode()
    assert not [name for name, where in chapters.entries().items() if where > number and name in files]
    assert not re.findall(r"^\s*#.*\b(?:CHAPTER|SOLUTION)\b.*|\bEXERCISE\(.*", text, re.M)
    later = set(re.findall(r"^#define (RINGLET_HC_\w+)", chapters.contents(chapters.LAST)["include/ringlet/hypercall.h"].decode(),
                           re.M)) - set(re.findall(r"^#define (RINGLET_HC_\w+)", files["include/ringlet/hypercall.h"].decode(), re.M))
    assert not [name for name in later if re.search(rf"\b{name}\b", text)]


def test_the_last_chapter_is_the_finished_system():
    """Guards against a conditional that the finished system resolves differently from the last chapter."""
    tree = chapters.contents(chapters.LAST)
    assert set(tree) == set(chapters.sources())
    for name, text in tree.items():
        whole = (ROOT / name).read_bytes()
        if not re.search(rb"\b(CHAPTER|SOLUTION)\b", whole):
            assert text == whole, name


def test_steps_are_small():
    """Guards the length of a step: what is read in one sitting has at most 400 lines of code."""
    assert not chapters.sizes()


@pytest.mark.parametrize("line", ["#if CHAPTER >= FOUR", "#if CHAPTER(4)", "#if SOLUTION >= 402\n#if 1"])
def test_bad_conditional_is_refused(line, capfd):
    """Guards the author: a conditional that unifdef cannot resolve is an error, not a line in a student's tree."""
    with pytest.raises(SystemExit):
        chapters.resolve("host/file.c", f"{line}\nint x;\n#endif\n".encode(), 4, 401)
    assert "host/file.c" in capfd.readouterr().err


def test_resolve_keeps_the_right_branch():
    """Guards the three states of a hole, and assembler comments and make lines that only look like conditionals."""
    text = b"int a;\n#if SOLUTION >= 402\nint solved;\n#else\nint open;\n#endif\n#if CHAPTER >= 5\nint later;\n#endif\n#if OTHER\n#endif\n"
    assert chapters.resolve("x.c", text, 4, 401) == b"int a;\nint open;\n#if OTHER\n#endif\n"
    assert chapters.resolve("x.c", text, 4, 402) == b"int a;\nint solved;\n#if OTHER\n#endif\n"
    later = b"#if SOLUTION >= 502\nint solved;\n#else\nint open;\n#endif\n"
    assert chapters.resolve("x.c", later, 4, 400) == b"int solved;\n"
    assert chapters.resolve("x.c", later, 5, 501) == b"int open;\n"
    assert b"later" in chapters.resolve("x.c", text, 5, chapters.SOLVED)
    make = b"a := it's \"1\n#if CHAPTER >= 8\nb := 2\n#endif\n#ifndef CHAPTER\nc := 3\n#endif\n"
    assert chapters.resolve("Kbuild", make, 7, 9999) == b"a := it's \"1\n"
    assert chapters.resolve("Kbuild", make, 8, 9999) == b"a := it's \"1\nb := 2\n"
