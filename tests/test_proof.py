# SPDX-License-Identifier: GPL-2.0
"""The proof of every lab (tools/lab prove): the starter scores its floor, the solution everything, and recorded wrong solutions
lose exactly what their files name. PROVE=whole has the solution three times, the third with both cores busy, and every wrong
solution; otherwise it is once, and one of each exercise."""
import os
import subprocess

import pytest
from conftest import ROOT

LABS = sorted(path.name for path in (ROOT / "labs").glob("[0-9][0-9]-*"))


@pytest.mark.parametrize("lab", LABS)
def test_lab_is_proven(lab):
    """Guards starter, solution, mutants and grader of a lab against one another."""
    quick = [] if os.environ.get("PROVE") == "whole" else ["--quick"]
    result = subprocess.run([ROOT / "tools/lab", "prove", *quick, lab[:2]], capture_output=True, text=True, timeout=1500)
    assert result.returncode == 0, result.stderr[-6000:]


def test_every_chapter_from_0_to_13_has_a_lab():
    """Guards completeness."""
    assert [int(name[:2]) for name in LABS] == list(range(14))
