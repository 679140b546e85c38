# SPDX-License-Identifier: GPL-2.0
"""A Report in the forms that others read: text, JSON, JUnit XML, Gradescope's results.json, Autolab's last line."""
import dataclasses
import json
import os
import re
import textwrap
import xml.etree.ElementTree as xml

from grader.model import FAIL, INFRASTRUCTURE, PASS

WORD = {"pass": "pass", "fail": "FAIL", "infrastructure": "infrastructure", "not-run": "not run"}
COLUMN = 37  # twice that, and what stands between, fits 80 columns
ROWS = 24


def write(path, data):
    """In one step, so that whoever is interrupted leaves a whole file."""
    new = path.with_name(path.name + ".new")
    new.write_text(data)
    os.replace(new, path)


def write_all(report, folder):
    """report.* is for those who grade; report.txt and results.json hold what a student may see."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "report.json", as_json(report))
    write(folder / "report.xml", as_junit(report))
    write(folder / "report.txt", as_text(report.for_students()))
    write(folder / "results.json", as_gradescope(report))
    write(folder / "autolab.txt", as_autolab(report) + "\n")


def side_by_side(expected, got):
    def column(title, text):
        lines = [piece for line in text.expandtabs().splitlines() or ["(nothing)"]
                 for piece in textwrap.wrap(line, COLUMN, drop_whitespace=False, replace_whitespace=False) or [""]]
        return [title, "-" * COLUMN] + lines[:ROWS] + ["..."] * (len(lines) > ROWS)

    left, right = column("expected", expected), column("got", got)
    height = max(len(left), len(right))
    left, right = (rows + [""] * (height - len(rows)) for rows in (left, right))
    return "\n".join(f"    {a:{COLUMN}} {b}".rstrip() for a, b in zip(left, right))


def printable(text):
    """Without what would move a terminal's cursor or is not allowed in XML."""
    return re.sub(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]", "?", text)


def explanation(result):
    """Why a test did not pass, with expected and got."""
    text = result.message
    if result.expected:
        text += "\n" + side_by_side(result.expected, result.got)
    elif result.got:
        text += "\n" + textwrap.indent(result.got, "    ")
    if result.log:
        text += f"\n    all of it: {result.log}"
    return printable(text)


def points(result):
    return "-" if result.outcome == INFRASTRUCTURE else f"{result.points}/{result.max_points}"


def as_text(report):
    lines = [f"Lab {report.lab}: {report.title} (seed {report.seed})", *(f"Note: {note}" for note in report.notes)]
    for result in report.tests:
        lines.append(f"{WORD[result.outcome]:5} {points(result):>7}  {result.id}: {result.title}")
        if result.outcome != PASS and result.message:
            lines.append("  " + explanation(result))
    if report.having(INFRASTRUCTURE):
        lines.append("Some tests could not be run: the machinery failed, not the submission. They cost no point; grade again.")
    if not report.complete:
        lines.append("This grading is not complete.")
    return "\n".join(lines + [f"Score: {report.score} of {report.max_score}", ""])


def as_json(report):
    return json.dumps({**dataclasses.asdict(report), "score": report.score, "max_score": report.max_score}, indent=1)


def as_junit(report):
    suite = xml.Element("testsuite", name=f"lab {report.lab}: {report.title}", tests=str(len(report.tests)),
                        failures=str(len(report.having(FAIL))), errors=str(len(report.having(INFRASTRUCTURE))),
                        skipped=str(len(report.having("not-run"))))
    for result in report.tests:
        case = xml.SubElement(suite, "testcase", classname=f"lab{report.lab}.{result.exercise}", name=result.id,
                              time=str(result.seconds))
        if result.outcome != PASS:
            kind = {FAIL: "failure", INFRASTRUCTURE: "error"}.get(result.outcome, "skipped")
            xml.SubElement(case, kind, message=printable(result.message)).text = explanation(result)
    return xml.tostring(suite, encoding="unicode") + "\n"


def as_gradescope(report):
    """No score where the machinery failed: staff must see that, and start it again. The rest of the output stays silent
    on tests that are not visible."""
    tests = [{"name": f"{result.id}: {result.title}", "number": result.exercise, "score": result.points,
              "max_score": 0 if result.outcome == INFRASTRUCTURE else result.max_points,
              "status": "passed" if result.outcome == PASS else "failed", "visibility": result.visibility,
              "output": "" if result.outcome == PASS else explanation(dataclasses.replace(result, log="")),
              "output_format": "text"} for result in report.tests]
    output = [f"Lab {report.lab}: {report.title}, seed {report.seed}.", *map(printable, report.notes)]
    if report.having(INFRASTRUCTURE):
        output.append("The machinery failed for some tests; they cost no point. Have it graded again.")
    if not report.complete:
        output.append("This grading was interrupted.")
    return json.dumps({"score": report.score, "output": "\n".join(output), "output_format": "text",
                       "execution_time": round(sum(result.seconds for result in report.tests)),
                       "visibility": "visible", "stdout_visibility": "hidden", "tests": tests,
                       "extra_data": {"complete": report.complete,
                                      "infrastructure": [result.id for result in report.having(INFRASTRUCTURE)]}}, indent=1)


def as_autolab(report):
    """The two last lines of standard output. An exercise that the machinery failed has no score."""
    stages, scores, shown = [], {}, {}
    for exercise, title in report.exercises.items():
        results = [result for result in report.tests if result.exercise == exercise]
        stages.append(f"{exercise} {title}")
        shown[stages[-1]] = {result.id: {"passed": result.outcome == PASS, "hint": printable(result.message)}
                             for result in results if result.visibility == "visible"}
        if results and not any(result.outcome == INFRASTRUCTURE for result in results):
            scores[exercise] = sum(result.points for result in results)
    return (json.dumps({"_presentation": "semantic", "stages": stages, **shown}) + "\n"
            + json.dumps({"scores": scores}))


def write_log(path, row, result, host, session):
    """All that a test did, in one file."""
    parts = [f"{row.id}: {row.title}\nguards: {row.spec.guards}\n{WORD[result.outcome]} {result.message}"]
    if result.expected or result.got:
        parts.append(f"== expected\n{result.expected}\n== got\n{result.got}")
    for number, run in enumerate(host.runs if host else [], 1):
        parts += [f"== run {number}: {run.command}\nexit status {run.status}", f"-- output\n{run.output}",
                  "-- events" + (f", {run.lost} older ones lost" if run.lost else ""), *map(str, run.events),
                  f"-- kernel log\n{run.kernel_log}"]
    parts.append(f"== console\n{session.console() if session else ''}")
    path.write_text("\n".join(parts) + "\n")
    return path
