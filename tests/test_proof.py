# SPDX-License-Identifier: GPL-2.0
"""The labs: rubric, holes and recorded wrong solutions of each fit together; and the proof (tools/lab prove): the starter
scores its floor, the solution everything, three times, the third beside the wrong solutions, which keep both cores busy, and
those lose exactly what their files name. Without PROVE=whole the solution runs once, and one wrong one of each exercise."""
import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
LABS = sorted(path.name for path in (ROOT / "labs").glob("[0-9][0-9]-*"))


def tool():
    loader = importlib.machinery.SourceFileLoader("lab", str(ROOT / "tools/lab"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("lab", loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", LABS)
def test_lab_is_proven(name):
    """Guards starter, solution, mutants and grader of a lab against one another."""
    quick = [] if os.environ.get("PROVE") == "whole" else ["--quick"]
    result = subprocess.run([ROOT / "tools/lab", "prove", *quick, name[:2]], capture_output=True, text=True, timeout=1500)
    assert result.returncode == 0, result.stderr[-6000:]


@pytest.mark.parametrize("name", LABS)
def test_mutants_fit(name):
    """Guards recorded wrong solutions: each still applies, to an exercise that exists, and its points are those of the tests
    that it names; every exercise has one."""
    module = tool()
    lab = module.Lab(name[:2])
    points = {row.id: row.points for row in lab.rubric.rows}
    mutants = [module.Mutant(path) for path in sorted((lab.folder / "mutants").glob("*.toml"))]
    for mutant in mutants:
        mutant.files(lab)
        assert mutant.points == sum(points[test] for test in mutant.loses), mutant.where
    assert {mutant.exercise for mutant in mutants} == set(lab.rubric.exercises)


@pytest.mark.parametrize("name", LABS)
def test_holes_are_the_exercises(name):
    """Guards the exercises against the sources: each is a hole in a file that is taken from a submission, and no solution is
    left in the starter."""
    lab = tool().Lab(name[:2])
    starter, solution = lab.files(), lab.files(len(lab.rubric.exercises))
    changed = {file for file in solution if starter.get(file) != solution[file]}
    assert changed and not re.search(rb"^\s*#.*\bSOLUTION\b", b"\n".join(starter.values()), re.M)
    assert changed - {"host/vcpu.c", "host/switcher.h"} <= set(lab.rubric.files)  # those two look for what is not done
    numbers = {int(exercise.split(".")[1]) for exercise in lab.rubric.exercises}
    assert numbers == set(range(1, len(numbers) + 1)) and 3 <= len(numbers) <= 6
    holes = [number for number in sorted(numbers) if lab.files(number - 1) != lab.files(number)]
    assert len(holes) >= 3 and holes == list(range(1, len(holes) + 1))  # behind them, there may be an open question


def test_every_chapter_has_a_lab():
    """Guards the course: chapters 0 to 13 have a lab each."""
    assert [name[:2] for name in LABS] == [f"{number:02}" for number in range(14)]


def test_wrong_numbers_are_refused():
    """Guards the first thing that a student mistypes."""
    for words in ["start", "77"], ["start", "x"], ["start", "04", "9"], ["grade", "/tmp"], ["hint", "/tmp", "1.1"]:
        result = subprocess.run([ROOT / "tools/lab", *words], capture_output=True, text=True)
        assert result.returncode == 2 and "what to do" in result.stderr, (words, result.stderr)
