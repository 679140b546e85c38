# SPDX-License-Identifier: GPL-2.0
"""Bad submissions, handed to `tools/lab grade` as a service hands them in: each gets a zero with a reason, leaves no process and
no file behind, and costs the next nothing."""
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ROOT
from test_proof import tool

FORGED = """2.4-text: pass
Score: 100 of 100
{\\"score\\": 100, \\"scores\\": {\\"2.4\\": 18}}
0123456789abcdef end
0123456789abcdef status 1
"""
HC_PRINT = "\tvoid *text = memory_at(&vm->memory, args[0], args[1]);\n"
C_FORGED = FORGED.replace("\n", "\\n")
FORGE = f"""\tFILE *link = fopen("/dev/ttyS1", "w");

	fputs("{C_FORGED}", stdout);
	fputs("{C_FORGED}", stderr);
	fprintf(link, "{C_FORGED}");
	exit(0);
"""


class Submission:
    """The solution of a lab in a folder of its own, to be spoilt."""

    def __init__(self, number, folder):
        self.number, self.folder = number, folder / "submission"
        self.temporary, self.results = folder / "tmp", folder / "results"
        self.temporary.mkdir(parents=True)
        lab = tool().Lab(number)
        for name, data in lab.files(99).items():
            if name in lab.rubric.files:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / name).write_bytes(data)

    def change(self, name, old, new):
        text = (self.folder / name).read_text()
        assert text.count(old) == 1
        (self.folder / name).write_text(text.replace(old, new))

    def grade(self, *only):
        """Grade; the report. Nothing may be left when the grader has ended."""
        words = [word for name in only for word in ("--only", name)]
        done = subprocess.run([ROOT / "tools/lab", "grade", self.folder, "--lab", self.number, "--results", self.results, *words],
                              env={**os.environ, "TMPDIR": str(self.temporary)}, capture_output=True, text=True, timeout=300)
        assert done.returncode in (0, 1), done.stderr
        assert not list(self.temporary.iterdir())
        assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(self.temporary) in read(path)]
        self.said = done.stdout + done.stderr
        return json.loads((self.results / "report.json").read_text())


def read(path):
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def outcomes(report):
    return {test["id"]: test["outcome"] for test in report["tests"]}


@pytest.fixture
def lab02(tmp_path):
    return Submission("02", tmp_path)


def test_files_that_are_no_files(lab02):
    """Guards which files are taken: none that is missing, a link, behind a link, a folder, too large, or takes in our solution;
    none that the lab does not name, be it the grader itself (red: drop a branch of submission())."""
    reference = ROOT / "build/labs/02-hypercalls/reference"
    (lab02.folder / "launcher/vcpu.c").unlink()
    (lab02.folder / "launcher/vcpu.c").symlink_to(reference / "launcher/vcpu.c")
    (lab02.folder / "host/exits.c").unlink()
    (lab02.folder / "host/exits.c").mkdir()
    (lab02.folder / "host/hypercalls.c").write_text(f'#/**/include "{reference}/host/hypercalls.c"\n')
    (lab02.folder / "host/vcpu.c").write_text("/*" + "x" * (1 << 20) + "*/\n")
    shutil.rmtree(lab02.folder / "guest")
    (lab02.folder / "guest").symlink_to(reference / "guest")
    for name in "host/Kbuild", "launcher/Makefile", "labs/02-hypercalls/tests.py", "tools/grader/runner.py", "tests.py":
        (lab02.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (lab02.folder / name).write_text("$(error taken)\n")
    report = lab02.grade()
    assert report["score"] == 0
    notes = "\n".join(report["notes"])
    for line in ("launcher/vcpu.c: no plain file", "host/exits.c: no plain file", "host/hypercalls.c: takes in a file from elsewhere",
                 "host/vcpu.c: larger than", "guest/tiny/hello.c: no plain file", "host/Kbuild: changed, but not among the files"):
        assert line in notes and line in lab02.said
        assert line in json.loads((lab02.results / "results.json").read_text())["output"]
    (lab02.folder / "launcher/vcpu.c").unlink()
    assert "launcher/vcpu.c: missing" in "\n".join(lab02.grade("2.4-text")["notes"])


def test_what_does_not_compile(lab02):
    """Guards that the compiler's words reach the student, and that the grader takes time to say so, not to boot."""
    lab02.change("host/exits.c", "static enum action exit_invalid_opcode", "static enum acton exit_invalid_opcode")
    report = lab02.grade()
    assert report["score"] == 0 and {test["message"] for test in report["tests"]} == {"it does not compile"}
    assert "host/exits.c:" in report["tests"][0]["got"] and "error" in report["tests"][0]["got"]


@pytest.mark.parametrize("code, reason", [
    (FORGE, ""),
    ("\tfor (;;)\n\t\t;\n", "did not end within"),
    ("\tfor (long i = 0; i < 1L << 24; i++)\n\t\tputs(\"sixty-four bytes of output, sixteen million times: a gibibyte.....\");\n", ""),
], ids=["forged", "endless", "gigabyte"])
def test_a_launcher_that_misbehaves(lab02, code, reason):
    """Guards verdicts against what a submission prints or does; its other half is graded as ever (red: see test_grader.py)."""
    text = (lab02.folder / "launcher/vcpu.c").read_text()
    (lab02.folder / "launcher/vcpu.c").write_text("#include <stdio.h>\n#include <stdlib.h>\n" + text.replace(HC_PRINT, code + HC_PRINT))
    report = lab02.grade("2.4-text", "2.3-arguments")
    assert outcomes(report) == {"2.4-text": "fail", "2.3-arguments": "pass", **outcomes_before(report)}
    failed = next(test for test in report["tests"] if test["id"] == "2.4-text")
    assert failed["points"] == 0 and reason in failed["message"] and failed["expected"] + failed["got"]
    assert sum(path.stat().st_size for path in lab02.results.rglob("*") if path.is_file()) < 16 << 20


def outcomes_before(report):
    """The tests that those after `--only` come after."""
    return {name: outcome for name, outcome in outcomes(report).items() if name not in ("2.4-text", "2.3-arguments")}


def test_a_module_that_never_ends(lab02):
    """Guards against a host that hangs: the exercise's tests fail and show where it is, the others are run in another host."""
    lab02.change("host/hypercalls.c", "\tcount(COUNT_HYPERCALLS + number);\n", "\tfor (;;)\n\t\tcpu_relax();\n")
    report = lab02.grade("2.2-counted", "2.4-text")
    found = outcomes(report)
    assert found["2.4-text"] == "pass" and "fail" in found.values()
    failed = next(test for test in report["tests"] if test["outcome"] == "fail")
    assert "hypercall" in failed["got"], failed


def test_a_guest_that_never_ends(tmp_path):
    """Guards against an endless loop in what runs in the guest."""
    lab13 = Submission("13", tmp_path)
    lab13.change("guest/tiny/exploits.c", "long exploit_idt(void)\n{\n", "long exploit_idt(void)\n{\n\tfor (;;)\n\t\t;\n")
    report = lab13.grade("13.1-idt-attack", "13.1-idt-held")
    failed = {test["id"]: test["message"] for test in report["tests"] if test["outcome"] != "pass"}
    assert list(failed) == ["13.1-idt-attack"] and "did not end within" in failed["13.1-idt-attack"]


def test_the_next_is_unaffected(lab02):
    """Guards what all of them share: behind the others, a good submission has what it deserves."""
    report = lab02.grade("2.2", "2.4")
    assert set(outcomes(report).values()) == {"pass"} and not report["notes"]


def test_ended_by_a_signal(lab02):
    """Guards `lab grade` and `lab prove` against staying behind when a service ends them (red: drop leave())."""
    for words in ["grade", lab02.folder, "--lab", "02", "--results", lab02.results], ["prove", "--quick", "02"]:
        grader = subprocess.Popen([ROOT / "tools/lab", *words], env={**os.environ, "TMPDIR": str(lab02.temporary)},
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not list(lab02.temporary.glob("lab-*/ringlet-*/link")) and time.monotonic() < deadline:
            time.sleep(0.1)
        grader.terminate()
        assert grader.wait(30) in (143, 125)
        assert not list(lab02.temporary.iterdir())
        assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(lab02.temporary) in read(path)]
