# SPDX-License-Identifier: GPL-2.0
"""A lab's rubric.toml and tests.py, read and held against each other. Whatever does not fit is an error that names file
and row, before anything boots.

    lab = "07"
    title = "Device scanning"
    floor = 0                           # what the starter scores
    files = ["guest/linux/drivers/virtio/virtio_ringlet.c"]     # all that is taken from a submission
    [[exercise]]
    id = "7.1"
    title = "..."
    [[test]]
    id = "7.1-header"                   # its exercise's id, "-", a word; the same as in @test() in tests.py
    exercise = "7.1"
    title = "The header is checked before it is used"
    points = 10
    after = []                          # tests without whose pass this one is not run
    visibility = "visible"              # or hidden, after_due_date, after_published"""
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from grader import api
from grader.model import VISIBILITIES

HEAD = {"lab": str, "title": str, "floor": int, "files": list, "exercise": list, "test": list}
EXERCISE = {"id": str, "title": str}
TEST = {"id": str, "exercise": str, "title": str, "points": int, "after": list, "visibility": str}
OPTIONAL = {"after": [], "visibility": "visible", "floor": 0, "files": [], "exercise": [], "test": []}


class RubricError(Exception):
    """The lab, not the submission, is wrong."""


@dataclass
class Row:
    """A test: a row of the rubric and the function that it counts."""
    id: str
    exercise: str
    title: str
    points: int
    after: list
    visibility: str
    where: str
    spec: object = None  # api.Spec


@dataclass
class Rubric:
    folder: Path
    lab: str
    title: str
    floor: int
    files: list
    exercises: dict = field(default_factory=dict)
    rows: list = field(default_factory=list)


def keys(where, table, kinds, optional):
    """The table with defaults in it, if its keys are the known ones and of the right kind."""
    for key, value in table.items():
        if key not in kinds:
            raise RubricError(f"{where}: unknown key {key!r}; known are {', '.join(kinds)}")
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            raise RubricError(f"{where}: {key} = {value!r} is not a {kinds[key].__name__}")
    for key in kinds:
        if key not in table and key not in optional:
            raise RubricError(f"{where}: {key} is missing")
    return {**{key: default for key, default in optional.items() if key in kinds}, **table}


def read(path, optional):
    """A rubric file's head, and for each [[exercise]] and [[test]] (where it stands, table)."""
    try:
        text = path.read_text()
        data = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise RubricError(f"{path}: {error}") from error
    head = keys(str(path), data, HEAD, optional)
    rows = {}
    for kind, kinds in ("exercise", EXERCISE), ("test", TEST):
        lines = [at for at, line in enumerate(text.splitlines(), 1) if re.match(rf"\s*\[\[\s*{kind}\s*\]\]", line)]
        lines += [0] * (len(head[kind]) - len(lines))
        rows[kind] = []
        for line, table in zip(lines, head[kind]):
            where = f"{path}:{line}: [[{kind}]] {table.get('id', 'without id') if isinstance(table, dict) else ''}"
            rows[kind].append((where, keys(where, table, kinds, optional)))
    return head, rows


def add_rows(rubric, path, optional):
    _, rows = read(path, optional)
    for where, table in rows["exercise"]:
        if table["id"] in rubric.exercises:
            raise RubricError(f"{where}: this exercise stands there twice")
        rubric.exercises[table["id"]] = table["title"]
    for where, table in rows["test"]:
        row = Row(where=where, **table)
        if row.exercise not in rubric.exercises:
            raise RubricError(f"{where}: there is no exercise {row.exercise!r}")
        if not row.id.startswith(row.exercise + "-") or not re.fullmatch(r"[\w.-]+", row.id):
            raise RubricError(f"{where}: the id must be {row.exercise}- and a word")
        if row.points < 0:
            raise RubricError(f"{where}: points = {row.points}")
        if row.visibility not in VISIBILITIES:
            raise RubricError(f"{where}: visibility = {row.visibility!r} is none of {', '.join(VISIBILITIES)}")
        if any(row.id == other.id for other in rubric.rows):
            raise RubricError(f"{where}: this test is counted twice")
        rubric.rows.append(row)


def functions(path):
    """{id: Spec} of a tests.py."""
    try:
        specs = api.collect(path)
    except Exception as error:
        raise RubricError(f"{path}: {type(error).__name__}: {error}") from error
    for spec in specs:
        twice = [other.name for other in specs if other.id == spec.id]
        if len(twice) > 1:
            raise RubricError(f"{path}: the test {spec.id} is there twice: {', '.join(twice)}")
        if not spec.guards:
            raise RubricError(f"{path}: {spec.name} does not say in its docstring what it guards")
    return {spec.id: spec for spec in specs}


def sort_after(rows):
    """The rows in their order, but none before what it comes after."""
    done, left = [], list(rows)
    while left:
        ready = next((row for row in left if set(row.after) <= {other.id for other in done}), None)
        if not ready:
            raise RubricError(f"{left[0].where}: after = {left[0].after} waits in a circle with "
                              + ", ".join(row.id for row in left[1:]))
        done.append(ready)
        left.remove(ready)
    return done


def load(folder, hidden=None):
    """The rubric of a lab's folder, with the hidden folder's rows if there is one, each row with its function."""
    folder = Path(folder)
    head, _ = read(folder / "rubric.toml", OPTIONAL)
    rubric = Rubric(folder, head["lab"], head["title"], head["floor"], head["files"])
    add_rows(rubric, folder / "rubric.toml", OPTIONAL)
    specs = functions(folder / "tests.py")
    if hidden:
        defaults = {**OPTIONAL, "lab": rubric.lab, "title": rubric.title, "visibility": "hidden"}
        add_rows(rubric, Path(hidden) / "rubric.toml", defaults)
        for name, spec in functions(Path(hidden) / "tests.py").items():
            if name in specs:
                raise RubricError(f"{hidden}/tests.py: {spec.name}: the test {name} stands in {folder}/tests.py too")
            specs[name] = spec
    for row in rubric.rows:
        if row.id not in specs:
            raise RubricError(f"{row.where}: no function in tests.py is this test")
        row.spec = specs.pop(row.id)
        for needed in row.after:
            if needed not in {other.id for other in rubric.rows}:
                raise RubricError(f"{row.where}: after = {needed!r}: there is no such test")
    for spec in specs.values():
        raise RubricError(f"{spec.file}: {spec.name}: no rubric counts the test {spec.id}")
    if not 0 <= rubric.floor <= sum(row.points for row in rubric.rows):
        raise RubricError(f"{folder}/rubric.toml: floor = {rubric.floor} is no score of this lab")
    rubric.rows = sort_after(rubric.rows)
    return rubric
