# SPDX-License-Identifier: GPL-2.0
"""Runs a lab's tests: tests that want the same machine share one host, in the rubric's order; several hosts at once.
A host in which a test failed is not used again, unless only an exercise was not done or the module was ours."""
import os
import re
import secrets
import shutil
import threading
import time
import traceback
from pathlib import Path

from grader import writers
from grader.api import Host, Mismatch
from grader.model import FAIL, INFRASTRUCTURE, NOT_RUN, PASS, Report, Result
from grader.rubric import load
from grader.session import Session
from machine import Failure, terminate

NOT_DONE = re.compile(r"exercise \d+\.\d+ is not done: see \S+")
ATTEMPTS = 2  # to boot


def new_report(rubric, seed, notes=()):
    report = Report(rubric.lab, rubric.title, secrets.randbelow(1 << 32) if seed is None else seed,
                    exercises=rubric.exercises, notes=list(notes))
    report.tests = [Result(row.id, row.exercise, row.title, row.points, visibility=row.visibility) for row in rubric.rows]
    return report


def failed_build(lab_dir, log_text, *, hidden=None, results=None, notes=()):
    """The report of a submission that does not compile."""
    report = new_report(load(lab_dir, hidden), 0, notes)
    errors = [line for line in log_text.splitlines() if re.search(r"\berror\b|undefined reference", line)]
    for result in report.tests:
        result.outcome, result.message = FAIL, "it does not compile"
        result.expected, result.got = "a build", "\n".join(errors[:20]) or log_text[-2000:]
    report.complete = True
    if results:
        shutil.rmtree(Path(results) / "log", ignore_errors=True)
        writers.write_all(report, Path(results))
    return report


def grade(lab_dir, build, *, only=None, seed=None, hidden=None, jobs=None, results, progress=None, kernel="kit",
          notes=()):
    """Grade a build, {path in the host's initramfs: file}. only: ids of tests or exercises; what they come after is run
    too. Files in the folder results are written anew after each test; progress(result) is called then."""
    rubric = load(lab_dir, hidden)
    rubric.rows = selected(rubric.rows, only)
    report = new_report(rubric, seed, notes)
    results = Path(results)
    shutil.rmtree(results / "log", ignore_errors=True)
    (results / "log").mkdir(parents=True)
    writers.write_all(report, results)
    board = Board(rubric.rows, report, results, progress or (lambda result: None))
    threads = [threading.Thread(target=worker, args=(board, build, kernel, f"grade-{rubric.lab}-{number}"))
               for number in range(max(1, jobs or os.cpu_count() or 1))]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.05)  # not join(): a signal in it makes Python 3.11 forget the thread (bpo-45274)
    finally:
        board.stop()
        for thread in threads:
            thread.join()
    if board.error:
        raise board.error
    report.complete = True
    writers.write_all(report, results)
    return report


def selected(rows, only):
    """The rows that only names, and what they need."""
    if not only:
        return rows
    known = {row.id: row for row in rows}
    wanted = [row.id for row in rows if row.id in only or row.exercise in only]
    for name in only:
        if name not in known and name not in {row.exercise for row in rows}:
            raise KeyError(f"no test and no exercise is {name}; there are: {', '.join(known)}")
    for name in wanted:  # grows
        wanted += [needed for needed in known[name].after if needed not in wanted]
    return [row for row in rows if row.id in wanted]


class Board:
    """Which tests are left, and their results. Shared by the workers."""

    def __init__(self, rows, report, results, progress):
        self.left, self.report, self.results, self.progress = list(rows), report, results, progress
        self.result = {result.id: result for result in report.tests}
        self.running = {}   # id: machine that the test wants
        self.sessions = set()
        self.stopped, self.error = False, None
        self.changed = threading.Condition()

    def take(self, machine):
        """The next test, if possible for a machine that the worker has; None when there is none any more."""
        with self.changed:
            while self.left and not self.stopped:
                self.drop_those_without_hope()
                finished = {id for id in self.result if id not in self.running and id not in {row.id for row in self.left}}
                ready = [row for row in self.left if set(row.after) <= finished
                         and (row.spec.machine == machine or row.spec.machine not in self.running.values())]
                if ready:
                    row = min(ready, key=lambda row: row.spec.machine != machine)
                    self.left.remove(row)
                    self.running[row.id] = row.spec.machine
                    return row
                if self.left:
                    self.changed.wait()
            return None

    def drop_those_without_hope(self):
        for row in list(self.left):
            lost = [name for name in row.after if self.result[name].outcome in (FAIL, INFRASTRUCTURE)
                    or self.result[name].message.startswith("not run: ")]
            if lost:
                self.left.remove(row)
                result = self.result[row.id]
                infrastructure = self.result[lost[0]].outcome == INFRASTRUCTURE
                result.outcome = INFRASTRUCTURE if infrastructure else NOT_RUN
                result.message = f"not run: {lost[0]} failed"
                self.write(result)

    def finish(self, row):
        with self.changed:
            del self.running[row.id]
            if not self.stopped:
                self.write(self.result[row.id])
            self.changed.notify_all()

    def write(self, result):
        writers.write_all(self.report, self.results)
        self.progress(result)

    def stop(self, error=None):
        with self.changed:
            self.stopped, self.error = True, self.error or error
            for session in list(self.sessions):
                if session.machine.process:
                    terminate(session.machine.process)
            self.changed.notify_all()


def worker(board, build, kernel, name):
    """Takes tests until none is left; keeps its host as long as tests want it."""
    session = machine = None
    try:
        while row := board.take(machine):
            if session and (session.broken or machine != row.spec.machine):
                close(board, session)
                session = None
            machine = row.spec.machine
            session = one_test(board, row, session, lambda: Session(build, machine, kernel, name))
            board.finish(row)
    except BaseException as error:
        board.stop(error)
    finally:
        close(board, session)


def close(board, session):
    if session:
        board.sessions.discard(session)
        session.__exit__()


def opened(board, make):
    """A booted host; the machinery gets a second chance."""
    for attempt in range(ATTEMPTS):
        session = make()
        board.sessions.add(session)
        try:
            session.__enter__()
            if not board.stopped:
                return session
            session.__exit__()
            raise Failure("stopped")
        except Failure:
            board.sessions.discard(session)
            if attempt == ATTEMPTS - 1 or board.stopped:
                raise


def one_test(board, row, session, make):
    """Run a test, in the session if there is one and it can be made as new, else in another; fill in its result."""
    result = board.result[row.id]
    begin = time.monotonic()
    host = None
    try:
        if session:
            try:
                usable = session.reset()
            except (Mismatch, Failure):
                usable = False
            if not usable:
                close(board, session)
                session = None
        session = session or opened(board, make)
        host = Host(session, row.spec, board.report.seed)
        row.spec.function(host)
        if session.module and row.spec.module and not host.loaded:
            host.load()  # a test that runs nothing must not pass with a module that does not load
        result.outcome, result.points, result.message = PASS, row.points, ""
    except Failure as failure:
        result.outcome, result.message = INFRASTRUCTURE, str(failure)
        if session:
            session.broken = True
    except Mismatch as error:
        result.outcome, result.message = FAIL, error.message
        result.expected, result.got = error.expected, error.got
        if hasattr(error, "run"):
            host.runs.append(error.run)
        explain(result, host, session)
    except Exception as error:
        at = next((frame for frame in reversed(traceback.extract_tb(error.__traceback__))
                   if frame.filename == row.spec.file), None)
        where = f" ({Path(at.filename).name}:{at.lineno})" if at else ""
        result.outcome = FAIL
        result.message = f"the test stumbled over what it got{where}: {type(error).__name__}: {error}"
        if session:
            session.broken = True
    result.seconds = round(time.monotonic() - begin, 1)
    result.log = str(writers.write_log(board.results / "log" / f"{row.id}.log", row, result, host, session))
    return session


def explain(result, host, session):
    """An exercise that says it is not done is the reason, whatever came of it; else the host may have been damaged."""
    said = [run.output + run.kernel_log for run in host.runs] + [session.console()]
    found = next(filter(None, map(NOT_DONE.search, said)), None)
    if found:
        result.message, result.expected, result.got = found.group(), "", result.message
    else:
        session.broken |= session.fragile
