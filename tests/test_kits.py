# SPDX-License-Identifier: GPL-2.0
"""What a course hands out: no solution is in it, it works from scratch in an empty folder, and the autograders do what the
services document, in the layout that these document."""
import json
import os
import re
import shutil
import subprocess
import zipfile

import pytest
from conftest import ROOT
from test_proof import LABS, tool

KITS = ROOT / "build/kits"
FIELDS = {"score", "output", "output_format", "execution_time", "visibility", "stdout_visibility", "tests", "extra_data"}
TEST_FIELDS = {"score", "max_score", "status", "name", "number", "output", "output_format", "visibility"}


def run(*command, **options):
    environment = {**{name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS")},  # of `make test ARGS=…`
                   "KERNEL_BUILD": os.environ.get("KERNEL_BUILD") or str(ROOT / "build/linux")}
    environment.update(options.pop("env", {}))
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, **options)


def student_kit(number, folder):
    """A kit out of its tarball."""
    done = run(ROOT / "tools/kits", "student", number)
    assert done.returncode == 0, done.stderr
    subprocess.run(["tar", "-xf", KITS / f"ringlet-student-{number}.tar.xz", "-C", folder], check=True)
    return folder / f"ringlet-student-{number}"


def solution_lines(lab):
    """What stands in the solution of this lab or of a later one, and nowhere in the starter."""
    module = tool()
    given = b"\n".join(lab.files().values()).decode()
    lines = set()
    for name in [name for name in LABS if int(name[:2]) >= lab.chapter]:
        later = module.Lab(name[:2])
        begun, solved = later.files(), later.files(99)
        for path in later.rubric.files:
            before = begun.get(path, b"").decode()
            lines |= {line.strip() for line in solved[path].decode().splitlines() if line not in before}
    return {line for line in lines if len(line) >= 25 and line not in given and re.search(r"\w\W+\w", line)}


@pytest.mark.parametrize("name", LABS)
def test_no_solution_is_handed_out(name, tmp_path):
    """Guards every lab's kit, tarball and bundle: no line of a solution of this lab or a later one, no recorded wrong solution,
    no test that only the staff runs, and nothing of git's beside (red: lab.files(99) in tools/kits; let mutants/ through)."""
    lab = tool().Lab(name[:2])
    kit = student_kit(name[:2], tmp_path)
    files = {str(path.relative_to(kit)): path.read_bytes() for path in kit.rglob("*") if path.is_file()}
    text = {path: data.decode() for path, data in files.items() if "/prebuilt/" not in path}
    whole = "\n".join(text.values())
    # Hints and the lab's page are there to be read; the test programs share a line with anybody.
    read = "\n".join(data for path, data in text.items() if not path.startswith((f"labs/{name}/hints", f"labs/{name}/README",
                                                                                 "tests/programs/")))
    secrets = solution_lines(lab)
    assert len(secrets) > 5
    assert not [line for line in secrets if line in read]
    assert "SOLUTION >=" not in "".join(data for path, data in text.items() if path.startswith(("host/", "guest/", "launcher/",
                                                                                               "include/", "platform/")))
    hidden = [row.id for row in lab.rubric.rows if row.visibility != "visible"]
    left = tool().grader.load(kit / "labs" / name)
    assert [row.id for row in left.rows] == [row.id for row in lab.rubric.rows if row.id not in hidden]
    assert not [word for word in hidden if f'"{word}"' in whole] and not [path for path in files if "/mutants/" in path]
    assert not [path for path, data in files.items() if data.startswith(b"\x7fELF") and b".debug_info" in data]
    bundle = subprocess.run(["git", "clone", "-q", KITS / f"{kit.name}.bundle", tmp_path / "cloned"], capture_output=True, text=True)
    assert bundle.returncode == 0, bundle.stderr
    cloned = {str(path.relative_to(tmp_path / "cloned")): path.read_bytes() for path in (tmp_path / "cloned").rglob("*")
              if path.is_file() and ".git" not in path.relative_to(tmp_path / "cloned").parts}
    assert cloned == files


def test_the_same_bytes_twice(tmp_path):
    """Guards that a kit can be made again, and compared (red: drop --mtime, or GIT_*_DATE)."""
    made = []
    for _ in range(2):
        student_kit("00", tmp_path)
        made.append([(KITS / f"ringlet-student-00{kind}").read_bytes() for kind in (".bundle", ".tar.xz")])
    assert made[0] == made[1]


@pytest.mark.parametrize("number", ["00", "08"])
def test_a_kit_works_from_scratch(number, tmp_path):
    """Guards a student's first evening: start, run, grade, hint, hand in; and that it is the very grader: the solution, laid over
    the working tree, has every point there is (red: leave prebuilt/ out)."""
    lab = tool().Lab(number)
    kit = student_kit(number, tmp_path)
    done = run("make", "-C", kit, "start")
    assert done.returncode == 0, done.stderr
    tree = kit / "work" / lab.name
    done = run("make", "-C", tree, "run")
    assert f"exercise {int(number)}." in done.stdout + done.stderr and "is not done: see README.md#" in done.stdout + done.stderr
    assert "1 of " in run("make", "-C", tree, "hint", f"EX={next(iter(lab.rubric.exercises))}").stdout
    done = run("make", "-C", tree, "grade")
    points = sum(row.points for row in lab.rubric.rows if row.visibility == "visible")
    assert f"Score: {lab.rubric.floor} of {points}" in done.stdout, done.stderr
    for name, data in lab.files(99).items():
        if name in lab.rubric.files:
            (tree / name).write_bytes(data)
    done = run("make", "-C", tree, "grade")
    assert done.returncode == 0 and f"Score: {points} of {points}" in done.stdout, done.stdout
    assert run("make", "-C", tree, "handin").returncode == 0
    with zipfile.ZipFile(tree / "handin.zip") as archive:
        assert archive.namelist() == lab.rubric.files
    for words in ["start", number, "2"], ["prove", number]:
        done = run(kit / "tools/lab", *words)
        assert done.returncode == 2 and "no solutions" in done.stderr


@pytest.fixture(scope="module")
def staff(tmp_path_factory):
    """The instructor kit, unpacked."""
    done = run(ROOT / "tools/kits", "instructor")
    assert done.returncode == 0, done.stderr
    folder = tmp_path_factory.mktemp("staff")
    subprocess.run(["tar", "-xf", KITS / "ringlet-instructor.tar.xz", "-C", folder], check=True)
    return folder / "ringlet-instructor"


def test_the_staff_has_everything(staff):
    """Guards the instructor kit: solutions, mutants, hidden tests, autograders of every lab."""
    for name in LABS:
        lab = tool().Lab(name[:2])
        solved = lab.files(99)
        assert all((staff / "solutions" / name / file).read_bytes() == solved[file] for file in lab.rubric.files)
        assert (staff / "ringlet/labs" / name / "mutants").is_dir()
        with zipfile.ZipFile(staff / f"gradescope-{name[:2]}.zip") as archive:
            assert sorted(archive.namelist()) == ["ringlet.tar.xz", "run_autograder", "setup.sh"]
        assert (staff / f"autolab-{name[:2]}/autograde-Makefile").is_file()


@pytest.fixture(scope="module")
def image(staff, tmp_path_factory):
    """/autograder as Gradescope lays it out, with lab 0, and setup.sh done."""
    root = tmp_path_factory.mktemp("g") / "autograder"
    for name in "source", "submission", "results":
        (root / name).mkdir(parents=True)
    with zipfile.ZipFile(staff / "gradescope-00.zip") as archive:
        for entry in archive.infolist():
            archive.extract(entry, root / "source")
            assert entry.external_attr >> 16 & 0o700
            (root / "source" / entry.filename).chmod(entry.external_attr >> 16)
    done = run("sh", root / "source/setup.sh", cwd=root)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return root


def submit(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def gradescope(image, files):
    submit(image / "submission", files)
    shutil.rmtree(image / "results")
    (image / "results").mkdir()
    done = run("sh", image / "source/run_autograder", cwd=image, env={"AUTOGRADER_ROOT": str(image)})
    return done, json.loads((image / "results/results.json").read_text())


def test_gradescope(image):
    """Guards run_autograder: starter, solution, and what is no submission; the fields that the service knows, and no other."""
    lab = tool().Lab("00")
    starter, solved = ({name: files[name] for name in lab.rubric.files} for files in (lab.files(), lab.files(99)))
    total = sum(row.points for row in lab.rubric.rows)
    broken = {**solved, "launcher/loader.c": b"int x = ;\n"}
    for files, score, says in ((starter, lab.rubric.floor, ""), (solved, total, ""), (broken, 0, ""),
                               ({"elsewhere/loader.c": b""}, lab.rubric.floor, "launcher/loader.c: missing")):
        done, results = gradescope(image, files)
        assert done.returncode == 0 and results["score"] == score, done.stderr
        assert set(results) <= FIELDS and results["tests"] and says in results["output"]
        for test in results["tests"]:
            assert set(test) <= TEST_FIELDS and test["status"] in ("passed", "failed")
            assert test["visibility"] in ("visible", "hidden", "after_due_date", "after_published")
        assert sum(test["max_score"] for test in results["tests"]) == total
    assert "does not compile" in gradescope(image, broken)[1]["tests"][0]["output"]


def test_gradescope_when_the_machinery_fails(image):
    """Guards that nobody loses a point by our own failure: no score, and a sentence (red: write a score of 0)."""
    submit(image / "submission", {})
    done = run("sh", image / "source/run_autograder", cwd=image,
               env={"AUTOGRADER_ROOT": str(image), "RINGLET_ROOT": str(image / "nowhere")})
    results = json.loads((image / "results/results.json").read_text())
    assert done.returncode == 1 and "score" not in results and "not your fault" in results["output"]


def test_autolab(image, staff, tmp_path):
    """Guards Autolab's job: make in a folder with Makefile and handin.zip; the last line is JSON with each exercise's score."""
    lab = tool().Lab("00")
    shutil.copy(staff / "autolab-00/autograde-Makefile", tmp_path / "Makefile")
    shutil.copy(staff / "autolab-00/autograde.tar", tmp_path)
    for files, share in (lab.files(99), 1), ({}, 0):
        with zipfile.ZipFile(tmp_path / "handin.zip", "w") as archive:
            for name in files.keys() & set(lab.rubric.files):
                archive.writestr(name, files[name])
        done = run("make", "-C", tmp_path, "--no-print-directory", env={"RINGLET": f"{image}/source/ringlet"})
        assert done.returncode == 0, done.stderr
        scores = json.loads(done.stdout.splitlines()[-1])["scores"]
        wanted = {name: share * sum(row.points for row in lab.rubric.rows if row.exercise == name) for name in lab.rubric.exercises}
        assert scores == wanted or (not share and sum(scores.values()) == lab.rubric.floor)
    (tmp_path / "handin.zip").write_bytes(b"no zip file")
    done = run("make", "-C", tmp_path, "--no-print-directory", env={"RINGLET": f"{image}/source/ringlet"})
    assert json.loads(done.stdout.splitlines()[-1]) and "no zip file" in done.stderr
