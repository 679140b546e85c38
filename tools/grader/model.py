# SPDX-License-Identifier: GPL-2.0
"""What a grading comes to. Everything that is written (writers.py) is written from this."""
from dataclasses import dataclass, field, replace

PASS, FAIL, INFRASTRUCTURE, NOT_RUN = "pass", "fail", "infrastructure", "not-run"
VISIBILITIES = "visible hidden after_due_date after_published".split()


@dataclass
class Result:
    id: str
    exercise: str
    title: str
    max_points: int
    points: int = 0
    outcome: str = NOT_RUN
    message: str = "not run yet"
    expected: str = ""
    got: str = ""
    log: str = ""        # file with all that the test did
    visibility: str = "visible"
    seconds: float = 0


@dataclass
class Report:
    """A test that the machinery failed counts neither way: score and max_score are without it."""
    lab: str
    title: str
    seed: int
    tests: list = field(default_factory=list)
    exercises: dict = field(default_factory=dict)  # id: title
    complete: bool = False  # False: interrupted, or still under way
    notes: list = field(default_factory=list)  # on the submission as a whole, a line each

    @property
    def score(self):
        return sum(result.points for result in self.tests)

    @property
    def max_score(self):
        return sum(result.max_points for result in self.tests if result.outcome != INFRASTRUCTURE)

    def having(self, outcome):
        return [result for result in self.tests if result.outcome == outcome]

    def status(self, infrastructure):
        """The grader's exit status. Never the score."""
        if self.having(INFRASTRUCTURE) or not self.complete:
            return infrastructure
        return 1 if self.having(FAIL) or self.having(NOT_RUN) else 0

    def for_students(self):
        """The same without what a test that is not visible has to say."""
        return replace(self, tests=[
            result if result.visibility == "visible" else
            replace(result, id=f"{result.exercise}-hidden", title="(hidden)", message="", expected="", got="", log="")
            for result in self.tests])
