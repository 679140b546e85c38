# SPDX-License-Identifier: GPL-2.0
"""The grader (tools/grader): what it says of wrong labs, what it writes, and what it makes of submissions that fail,
flood, loop, panic, hang or lie. The red lines named are in tools/grader."""
import json
import os
import re
import subprocess
import time
import xml.etree.ElementTree as xml

import pytest
from conftest import ROOT

from grader import (FAIL, INFRASTRUCTURE, NOT_RUN, PASS, Event, Mismatch, Report, Result, RubricError, Run, expect,
                    failed_build, grade, load, oops, writers)
from grader.api import parse_events
from grader.runner import Board
from grader.session import module_order

HEAD = 'lab = "99"\ntitle = "Fake"\n[[exercise]]\nid = "99.1"\ntitle = "One"\n'
NUMBER = iter(range(1000))
TINY_MODULE = """
#include <linux/module.h>
static int what;
module_param(what, int, 0);
static noinline int victim(int *p) { return READ_ONCE(*p); }
static noinline void spin(void) { local_irq_disable(); for (;;) barrier(); }
static int __init start(void)
{
	if (what == 1) return victim((int *)8);
	if (what == 2)
		spin();
	if (what == 3) { pr_err("exercise 99.1 is not done: see labs/99-fake/README.md#99.1\\n"); return -ENOSYS; }
	return 0;
}
static void __exit stop(void) {}
module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
"""


def row(name, points=10, exercise="99.1", **more):
    keys = {"id": f"{exercise}-{name}", "exercise": exercise, "title": name, "points": points, **more}
    return "[[test]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def function(name, body="pass", options="", exercise="99.1"):
    lines = "\n    ".join(body.strip().splitlines())
    return f'@test("{exercise}-{name}"{options})\ndef {name}_{next(NUMBER)}(host):\n    """What it guards."""\n    {lines}\n'


def lab(folder, rubric, *functions):
    folder.mkdir(exist_ok=True)
    (folder / "rubric.toml").write_text(rubric)
    (folder / "tests.py").write_text("from grader import Mismatch, expect, test\n\n\n" + "\n\n".join(functions))
    return folder


# Wrong labs


@pytest.mark.parametrize("rubric, functions, words", [
    (HEAD + row("a"), [], ["rubric.toml:6: [[test]] 99.1-a", "no function"]),
    (HEAD, [function("a")], ["tests.py", "no rubric counts the test 99.1-a"]),
    (HEAD + row("a") + row("a"), [function("a")], ["99.1-a", "counted twice"]),
    (HEAD + row("a"), [function("a"), function("a")], ["tests.py", "99.1-a is there twice"]),
    (HEAD + row("a", after=["99.1-b"]), [function("a")], ["rubric.toml:6", "'99.1-b'", "no such test"]),
    (HEAD + row("a", after=["99.1-b"]) + row("b", after=["99.1-a"]), [function("a"), function("b")], ["circle", "99.1-b"]),
    (HEAD + row("a", after=["99.1-a"]), [function("a")], ["circle"]),
    (HEAD + row("a", colour="red"), [function("a")], ["rubric.toml:6", "unknown key 'colour'"]),
    ("colour = 1\n" + HEAD + row("a"), [function("a")], ["unknown key 'colour'"]),
    (HEAD + row("a", points="10"), [function("a")], ["points = '10' is not a int"]),
    (HEAD + row("a", points=True), [function("a")], ["points = True"]),
    (HEAD + row("a", points=-1), [function("a")], ["points = -1"]),
    (HEAD + row("a", visibility="secret"), [function("a")], ["'secret'", "after_due_date"]),
    (HEAD + row("a", exercise="99.2"), [function("a", exercise="99.2")], ["no exercise '99.2'"]),
    (HEAD + row("a").replace('id = "99.1-a"', 'id = "98.1-a"'), [function("a")], ["the id must be 99.1- and a word"]),
    (HEAD + row("a").replace('points = 10', ''), [function("a")], ["rubric.toml:6", "points is missing"]),
    (HEAD + '[[exercise]]\nid = "99.1"\ntitle = "x"\n' + row("a"), [function("a")], ["99.1", "twice"]),
    ("floor = 11\n" + HEAD + row("a"), [function("a")], ["floor = 11"]),
    (HEAD + "[[test", [], ["rubric.toml: Expected"]),
    (HEAD + row("a"), ["def f(:"], ["tests.py", "SyntaxError"]),
    (HEAD + row("a"), [function("a").replace('"""What it guards."""', "")], ["does not say", "guards"]),
])
def test_a_wrong_lab_is_named_before_anything_boots(tmp_path, rubric, functions, words):
    """Guards rubric.py: each of its errors names the file and the row (red: drop any `raise RubricError` there)."""
    lab(tmp_path / "lab", rubric, *functions)
    begin = time.monotonic()
    with pytest.raises(RubricError) as error:
        grade(tmp_path / "lab", {}, results=tmp_path / "results")
    assert all(word in str(error.value) for word in words), str(error.value)
    assert time.monotonic() - begin < 1


def test_hidden_rows_join_the_lab(tmp_path):
    """Guards --hidden: staff's rows are hidden unless they say otherwise, and cannot replace a test."""
    visible = lab(tmp_path / "lab", HEAD + row("a"), function("a"))
    hidden = lab(tmp_path / "hidden", row("b", after=["99.1-a"]) + row("c", visibility="visible"), function("b"), function("c"))
    assert [(r.id, r.visibility) for r in load(visible, hidden).rows] == [
        ("99.1-a", "visible"), ("99.1-b", "hidden"), ("99.1-c", "visible")]
    lab(tmp_path / "hidden", row("b"), function("b"), function("a"))
    with pytest.raises(RubricError, match="99.1-a stands in"):
        load(visible, hidden)


def test_rows_come_after_what_they_need(tmp_path):
    """Guards the order (red: return rows from sort_after())."""
    folder = lab(tmp_path / "lab", HEAD + row("c", after=["99.1-b"]) + row("b", after=["99.1-a"]) + row("a"),
                 *map(function, "abc"))
    assert [r.id for r in load(folder).rows] == ["99.1-a", "99.1-b", "99.1-c"]


# What tests say


EVENTS = """# entries-in-buffer/entries-written: 3/10   #P:1
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
         ringlet-99      [001] d..1.        12: ringlet_exit: vcpu=0 vector=14 error=0x6 rip=0x10 ring=1
    a b-c ]: x-7         [000] .....        13: ringlet_hypercall: vcpu=1 number=2 args=0x1,0x2,0x0,0x0
         ringlet-99      [001] d..1.        14: ringlet_inject: vcpu=0 vector=14 error=0x6 interrupted=0x10
"""


def test_events_are_read():
    """Guards the parser of the trace, also for a task with a silly name."""
    events, lost = parse_events(EVENTS)
    assert lost == 7 and [event.name for event in events] == ["exit", "hypercall", "inject"]
    assert events[0]["vector"] == 14 and events[0]["error"] == 6 and events[1]["args"] == [1, 2, 0, 0]
    assert events[1].task == "a b-c ]: x" and events[0].cpu == 1
    with pytest.raises(Mismatch, match="no colour"):
        events[0]["colour"]


def test_what_a_run_can_be_asked():
    """Guards expect, has, lacks, order: what they raise shows both sides (red: let order() start anew at 0)."""
    run = Run("x", 0, "one\ntwo\n", parse_events(EVENTS)[0], "WARNING: CPU: 0\n")
    assert run.has("^t(.)o$").group(1) == "w"
    run.order("exit", "hypercall", "inject: .*vector=14")
    assert len(run.find("vector=14")) == 2
    expect(1, 1, "same")
    for call, message, expected, got in [
            (lambda: run.has("three", "a third"), "a third", "/three/", "one\ntwo"),
            (lambda: run.lacks("w"), "must not", "no /w/", "two"),
            (lambda: run.order("inject", "exit"), "order", "ok inject\n-> exit", "after inject:"),
            (lambda: run.order("exit", "exit"), "order", "ok exit\n-> exit", "hypercall"),
            (lambda: run.no_warnings(), "complaint", "WARNING", "WARNING: CPU: 0"),
            (lambda: expect(1, 2, "two"), "two", "2", "1")]:
        with pytest.raises(Mismatch) as error:
            call()
        assert message in error.value.message and expected in error.value.expected and got in error.value.got


# What is written


def a_report(**more):
    tests = [Result("99.1-a", "99.1", "A", 10, 10, PASS, ""),
             Result("99.1-b", "99.1", "B", 5, 0, FAIL, "status \x1b[2J & <b>", "0", "5\x00" * 60),
             Result("99.2-secret", "99.2", "the trick", 7, 0, FAIL, "the answer is 42", "42", "41", "log", "hidden"),
             Result("99.3-d", "99.3", "D", 20, 0, INFRASTRUCTURE, "no host"),
             Result("99.4-e", "99.4", "E", 3, 0, NOT_RUN, "not run: 99.1-b failed")]
    return Report("99", "Fake", 7, tests, {"99.1": "One", "99.2": "Two", "99.3": "Three", "99.4": "Four"},
                  **{"complete": True, **more})


def test_the_machinery_costs_no_point():
    """Guards the sums and the exit status (red: count INFRASTRUCTURE in max_score; return the score)."""
    report = a_report()
    assert (report.score, report.max_score) == (10, 25)
    assert report.status(125) == 125
    report.tests[3].outcome = FAIL
    assert (report.score, report.max_score, report.status(125)) == (10, 45, 1)
    assert Report("1", "x", 0, [Result("1.1-a", "1.1", "A", 1, 1, PASS)], complete=True).status(125) == 0
    assert Report("1", "x", 0, [Result("1.1-a", "1.1", "A", 1, 1, PASS)]).status(125) == 125


def test_text():
    """Guards the columns and the width; control characters do not reach a terminal."""
    text = writers.as_text(a_report())
    assert "Score: 10 of 25" in text and "infrastructure" in text and "seed 7" in text
    assert re.search(r"expected +got\n", text) and "\x1b" not in text and "\x00" not in text
    assert max(map(len, text.splitlines())) <= 128
    assert max(map(len, writers.side_by_side("a" * 500, "b c " * 100).splitlines())) <= 80
    assert "not complete" in writers.as_text(a_report(complete=False))


def test_json_has_all_of_it():
    data = json.loads(writers.as_json(a_report()))
    assert data["score"] == 10 and data["complete"] and data["seed"] == 7
    assert data["tests"][2]["message"] == "the answer is 42" and data["tests"][2]["visibility"] == "hidden"


def test_junit_is_xml():
    """Guards the counts, and that an output's control characters do not spoil the file (red: printable = str)."""
    suite = xml.fromstring(writers.as_junit(a_report()))
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5", "failures": "2", "errors": "1", "skipped": "1"}
    assert [case.get("name") for case in suite][0] == "99.1-a" and suite[3][0].tag == "error"


def test_gradescope():
    """Guards the fields that the service reads."""
    data = json.loads(writers.as_gradescope(a_report()))
    assert data["score"] == 10 and data["stdout_visibility"] == "hidden"
    for test in data["tests"]:
        assert test["status"] in ("passed", "failed") and test["score"] <= test["max_score"]
    assert data["tests"][2]["visibility"] == "hidden" and data["tests"][3]["max_score"] == 0
    assert sum(test["max_score"] for test in data["tests"]) == 25
    assert "machinery" in data["output"] and data["extra_data"]["infrastructure"] == ["99.3-d"]


def test_autolab():
    """Guards the last line: a score for each exercise but that which the machinery failed."""
    *_, semantic, last = writers.as_autolab(a_report()).splitlines()
    assert json.loads(last) == {"scores": {"99.1": 10, "99.2": 0, "99.4": 0}}
    assert json.loads(semantic)["_presentation"] == "semantic"
    assert json.loads(semantic)["99.1 One"]["99.1-a"]["passed"] is True


def test_nothing_of_a_hidden_test_reaches_a_student(tmp_path):
    """Guards what students see (red: write report.txt from report, or drop the visibility test of as_autolab())."""
    writers.write_all(a_report(), tmp_path)
    shown = (tmp_path / "report.txt").read_text() + (tmp_path / "autolab.txt").read_text()
    gradescope = json.loads((tmp_path / "results.json").read_text())
    gradescope["tests"] = [test for test in gradescope["tests"] if test["visibility"] == "visible"]
    assert len(gradescope["tests"]) == 4
    for leak in "42", "the trick", "41":
        assert leak not in shown + json.dumps(gradescope)


def test_files_are_written_in_one_step(tmp_path, monkeypatch):
    """Guards against half a file (red: write_text(path) in write())."""
    writers.write(tmp_path / "f", "old")
    monkeypatch.setattr(writers.os, "replace", lambda new, path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        writers.write(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "old"


def test_what_does_not_compile_fails_with_the_compilers_words(tmp_path):
    folder = lab(tmp_path / "lab", HEAD + row("a") + row("b"), function("a"), function("b"))
    said = "  CC x.o\nhost/x.c:3:1: error: expected ';'\nmake: *** [x.o] Error 1\n"
    report = failed_build(folder, said, results=tmp_path / "r")
    assert (report.score, report.max_score, report.complete) == (0, 20, True)
    assert all(result.outcome == FAIL and "x.c:3:1: error" in result.got and "CC" not in result.got for result in report.tests)
    assert "x.c:3:1" in (tmp_path / "r/results.json").read_text()


# Which test runs where and when


def test_a_machine_belongs_to_one_worker_and_order_holds(tmp_path):
    """Guards Board.take(): no second host of a kind at a time, nothing before what it comes after; what waits for
    something that failed is not run (red: drop the machine test; drop the after test)."""
    folder = lab(tmp_path / "lab", HEAD + row("a") + row("b") + row("c", after=["99.1-a"]) +
                 row("d", after=["99.1-c"]) + row("e"),
                 *map(function, "abd"), *(function(name, options=", cpus=2") for name in "ce"))
    rows = load(folder).rows
    report = Report("99", "Fake", 0, [Result(r.id, r.exercise, r.title, r.points) for r in rows])
    board = Board(rows, report, tmp_path, lambda result: None)
    first, other = board.take(None), board.take(None)
    assert (first.id, other.id) == ("99.1-a", "99.1-e")
    for done in first, other:
        board.result[done.id].outcome = PASS
        board.finish(done)
    third = board.take(other.spec.machine)
    assert third.id == "99.1-c"
    board.result["99.1-c"].outcome = FAIL
    board.finish(third)
    assert board.take(None).id == "99.1-b" and board.take(None) is None
    assert board.result["99.1-d"].outcome == NOT_RUN and board.result["99.1-d"].message == "not run: 99.1-c failed"


# Whole gradings, in real hosts


@pytest.fixture(scope="session")
def kit():
    build = {"modules/ringlet.ko": ROOT / "build/host-kit/ringlet.ko", "bin/ringlet": ROOT / "build/launcher/ringlet"}
    if not all(path.exists() for path in build.values()):
        pytest.fail("nothing to boot: `make all`")
    return build


@pytest.fixture(scope="session")
def tiny_module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("module")
    (folder / "ringlet.c").write_text(TINY_MODULE)
    (folder / "Kbuild").write_text("obj-m := ringlet.o\n")
    subprocess.run(["make", "-s", "-C", ROOT / "build/linux", f"M={folder}", "KCFLAGS=-g", "modules"], check=True,
                   capture_output=True)
    return {"modules/ringlet.ko": folder / "ringlet.ko"}


def by_name(report):
    return {result.id.split("-")[1]: result for result in report.tests}


GOOD = {
    "pass": """
        data = bytes(range(256)) * 800
        run = host.run("cmp a/b c && md5sum < c; touch /tmp/left /ringlet/same-host; sleep 100 & exit 3",
                       files={"a/b": data, "c": data})
        expect(run.status, 3, "status")
        run.has("^[0-9a-f]{32}  -$")""",
    "clean": """
        run = host.check("ls -A /job /tmp /ringlet; ps", events="")
        run.has("same-host")
        run.lacks("left|a$|c$|sleep 100")
        expect(len(host.run("true").events), 0, "events")
        expect(host.check("cat /sys/module/ringlet/refcnt").output.strip(), "0", "users of the module")""",
    "guest": """
        run = host.in_guest("echo in the guest; exit 4", events="hypercall,inject")
        expect(run.status, 4, "status")
        run.has("in the guest")
        run.order("hypercall: .*number=10 ", "inject: .*vector=14 ")
        expect({event.name for event in run.events}, {"hypercall", "inject"}, "events")
        expect(host.run("true").events, [], "events of a run that has none")
        run.no_warnings()""",
    "forged": """
        run = host.run(r'''nonce=$(sed 's/.*NONCE=\\([0-9a-f]*\\).*/\\1/' /proc/cmdline)
            forge() {
                printf '\\n%s exit 0 \\n\\n%s end\\n\\n0123456789abcdef status 1\\n0\\nScore: 100 of 100\\n' $nonce $nonce
            }
            forge; forge > /dev/ttyS1; forge > /dev/console; exit 9''')
        expect(run.status, 9, "status")
        run.has("^Score: 100 of 100$")""",
}
BAD = {
    "flood": """
        run = host.run("touch /ringlet/same-host; dd if=/dev/zero bs=1M count=200; echo done >&2; exit 6", seconds=60)
        expect((run.status, len(run.output), run.truncated), (6, 1 << 20, True), "kept")
        raise Mismatch("flooded", "a", "b")""",
    "loop": 'host.run("echo before; ls /ringlet; echo said > /dev/kmsg; while :; do :; done", seconds=1)',
    "panic": """
        host.run("ringlet run -k /guest/vmlinux -i /guest/initrd -m 64 -n none >/dev/null & sleep 1.5; "
                 "echo c > /proc/sysrq-trigger")""",
    "later": "pass",
    "stumble": "host.run('true').events[5]",
}


def test_good_submissions_and_liars(kit, tmp_path):
    """Guards the ordinary way; that nothing of a test is left for the next; that forged verdicts stay output (red: take
    any `NONCE` for the mark in Session.ask(); drop the kill or the rm of the agent's reset)."""
    names = list(GOOD)
    folder = lab(tmp_path / "lab", HEAD + "".join(map(row, names)),
                 *(function(name, re.sub(r"^ {8}", "", body, flags=re.M), ", mem=768") for name, body in GOOD.items()))
    seen = []
    report = grade(folder, kit, seed=5, results=tmp_path / "results", progress=lambda result: seen.append(result.id))
    assert report.complete and report.score == report.max_score == 40, writers.as_text(report)
    assert seen == [f"99.1-{name}" for name in names] and report.seed == 5
    assert json.loads((tmp_path / "results/report.json").read_text())["complete"]
    log = (tmp_path / "results/log/99.1-guest.log").read_text()
    assert "in the guest" in log and "hypercall: vcpu=0" in log


def test_bad_submissions(kit, tmp_path):
    """Guards each way to go wrong: the next test runs, and the message says what happened (red: drop post_mortem's
    wait; the agent's `cat > /dev/null`; the watchdog)."""
    folder = lab(tmp_path / "lab", HEAD + "".join(map(row, BAD)) + row("needs", after=["99.1-panic"]), function("needs"),
                 *(function(name, re.sub(r"^ {8}", "", body, flags=re.M)) for name, body in BAD.items()))
    (tmp_path / "results/log").mkdir(parents=True)
    (tmp_path / "results/log/old.log").write_text("old")
    report = grade(folder, kit, results=tmp_path / "results")
    results = by_name(report)
    assert {name: result.outcome for name, result in results.items()} == {
        "flood": FAIL, "loop": FAIL, "panic": FAIL, "later": PASS, "stumble": FAIL, "needs": NOT_RUN}, writers.as_text(report)
    assert results["flood"].message == "flooded" and results["flood"].expected == "a"
    assert "did not end within" in results["loop"].message and "before" in results["loop"].got
    assert "same-host" not in results["loop"].got, "a host in which a test failed was used again"
    assert "sysrq triggered crash" in results["panic"].message and "write_sysrq_trigger" in results["panic"].got
    assert "last events:\n" in results["panic"].got and "vcpu=0" in results["panic"].got
    assert "IndexError" in results["stumble"].message and "tests.py:" in results["stumble"].message
    assert results["needs"].message == "not run: 99.1-panic failed"
    logs = {path.stem for path in (tmp_path / "results/log").iterdir()}
    assert logs == {f"99.1-{name}" for name in BAD}
    assert "said" in (tmp_path / "results/log/99.1-loop.log").read_text()


def test_modules_that_crash_hang_or_are_not_done(tiny_module, tmp_path):
    """Guards the decoded oops with its source line, the NMI, the unfilled hole's line as headline, and a module that
    does not load (red: drop unknown_nmi_panic from the agent; the explain() call)."""
    bodies = {"oops": 'host.load("what=1")', "hang": 'host.load("what=2", seconds=1)', "hole": 'host.load("what=3")',
              "fits": "host.run('true')"}
    folder = lab(tmp_path / "lab", HEAD + "".join(map(row, bodies)), *(function(name, body) for name, body in bodies.items()))
    report = grade(folder, tiny_module, results=tmp_path / "results")
    results = by_name(report)
    assert [result.outcome for result in report.tests] == [FAIL, FAIL, FAIL, PASS], writers.as_text(report)
    assert "NULL pointer dereference" in results["oops"].message
    assert re.search(r"^at victim\S* \[ringlet\] \S*ringlet.c:5$", results["oops"].got, re.M), results["oops"].got
    assert "hung" in results["hang"].message
    assert re.search(r"^at spin\S* \[ringlet\] \S*ringlet.c:6$", results["hang"].got, re.M), results["hang"].got
    assert re.match(r"from start\S* \[ringlet\] \S*ringlet.c:11$", results["hang"].got.splitlines()[1]), results["hang"].got
    assert results["hole"].message == "exercise 99.1 is not done: see labs/99-fake/README.md#99.1"


def test_a_students_module_is_not_for_init():
    """Guards the machinery against a module that kills its host: nothing of a submission runs while the host boots."""
    order = module_order(ROOT / "build/host-kit", {})
    assert b"tun.ko\n" in order and b"ringlet.ko" not in order


def test_no_module_is_a_failure_and_no_kernel_is_none(kit, tmp_path):
    """Guards the line between what a submission breaks and what the machinery breaks (red: FAIL for Failure in
    one_test())."""
    folder = lab(tmp_path / "lab", HEAD + row("a") + row("b", after=["99.1-a"]), function("a"), function("b"))
    report = grade(folder, {**kit, "modules/ringlet.ko": b"no module"}, results=tmp_path / "results", only=["99.1-a"])
    assert [(r.outcome, r.message) for r in report.tests] == [(FAIL, "ringlet.ko could not be loaded")]
    assert "invalid module format" in report.tests[0].got
    report = grade(folder, kit, results=tmp_path / "results", kernel="nowhere")
    assert [r.outcome for r in report.tests] == [INFRASTRUCTURE] * 2 and report.max_score == 0
    assert report.status(125) == 125 and "no host" in report.tests[0].message


def test_an_interrupted_grading_leaves_a_whole_file(kit, tmp_path):
    """Guards the files after each test: valid, and saying that they are not all (red: write only at the end); and that
    the host is gone then (red: join() the threads at once)."""
    folder = lab(tmp_path / "lab", HEAD + row("a") + row("b"), function("a"), function("b", "host.run('sleep 50', seconds=60)"))
    command = ["/usr/bin/python3", ROOT / "tools/grader", folder, "--results", tmp_path / "r",
               *(word for path, file in kit.items() for word in ("--lay", f"{path}={file}"))]
    (tmp_path / "t").mkdir()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "TMPDIR": str(tmp_path / "t")})
    assert "99.1-a: pass" in process.stderr.readline()
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 125
    assert not list((tmp_path / "t").iterdir()), "a host's folder is left"
    data = json.loads((tmp_path / "r/report.json").read_text())
    assert not data["complete"] and [r["outcome"] for r in data["tests"]] == [PASS, NOT_RUN]
    assert "interrupted" in json.loads((tmp_path / "r/results.json").read_text())["output"]


def test_an_oops_is_decoded_without_debug_information():
    """Guards decode() on its own: function and offset at least."""
    log = """[    1.0] BUG: kernel NULL pointer dereference, address: 8
[    1.0] CPU: 0 UID: 0 PID: 9 Comm: ringlet
[    1.0] RIP: 0010:fill_page+0x12/0x40 [ringlet]
[    1.0] Call Trace:
[    1.0]  <TASK>
[    1.0]  ? __die+0x1/0x2
[    1.0]  vcpu_run+0x34/0x99 [ringlet]
[    1.0]  do_syscall_64+0x3f/0xd0
[    1.0] Modules linked in: ringlet(O)
[    1.0] ringlet-9 0d..1. 7: ringlet_exit: vcpu=0 vector=14
[    1.0] Kernel panic - not syncing: Fatal exception
"""
    headline, details = oops.decode(log)
    assert headline == "BUG: kernel NULL pointer dereference, address: 8"
    assert details.splitlines() == ["at fill_page+0x12 [ringlet]", "from vcpu_run+0x34 [ringlet]", "from do_syscall_64+0x3f",
                                    "last events:", "exit: vcpu=0 vector=14"]
    assert oops.decode("all is well\n") == ("", "")
    assert Event("exit", "a=1", "t", 0)["a"] == 1
