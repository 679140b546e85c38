# SPDX-License-Identifier: GPL-2.0
"""The grader: boots hosts with a student's build, runs a lab's tests in them, counts points.

A lab is a folder with rubric.toml (rubric.py) and tests.py:

    from grader import test, expect

    @test("7.2-length", cpus=1, mem=512, boot="")    # tests with the same cpus, mem, boot share one host, in rubric order
    def length_out_of_bounds(host):
        \"""A record whose length leaves the page is not believed.\"""     # what the test guards
        run = host.run("ringlet run -k scan", seconds=15, files={"page": host.random.randbytes(4096)})
        expect(run.status, 0, "exit status of the launcher")
        run.order(r"exit: .*vector=14", r"inject: .*vector=14")

What a host and a run offer stands in api.py. tools/grader as a program: see __main__.py."""
from grader.api import Event, Mismatch, Run, expect, test
from grader.model import FAIL, INFRASTRUCTURE, NOT_RUN, PASS, Report, Result
from grader.rubric import RubricError, load
from grader.runner import failed_build, grade

__all__ = ["Event", "FAIL", "INFRASTRUCTURE", "Mismatch", "NOT_RUN", "PASS", "Report", "Result", "RubricError", "Run",
           "expect", "failed_build", "grade", "load", "test"]
