# SPDX-License-Identifier: GPL-2.0
"""README.md shows what really happens. Red: change a line of the tour without `tools/record`."""
import importlib.machinery
import importlib.util
import re

from conftest import ROOT


def load(script):
    loader = importlib.machinery.SourceFileLoader(script, str(ROOT / "tools" / script))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(script, loader))
    loader.exec_module(module)
    return module


def test_the_tour_is_as_recorded():
    """Guards the first thing that a newcomer compares with the screen; `make run` must end with 0 for it."""
    record = load("record")
    (lines, counters), (lines_now, counters_now) = record.shape(record.recorded()), record.shape(record.play())
    assert lines == lines_now
    assert len(counters) > 10 and counters & counters_now > {"entries 1", "hypercall_notify 1", "exit_page_fault 1"}


def test_folders_and_targets_exist():
    """Guards the README's table of folders and its make targets."""
    text = (ROOT / "README.md").read_text()
    for folder in re.findall(r"^\| `([a-z/]+)` \|", text, re.M):
        assert (ROOT / folder).is_dir(), folder
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z]+)(?=\s)", text, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
