# SPDX-License-Identifier: GPL-2.0
"""What the scripts behind the Makefile share: where things are, how a step is shown, logged and, if it fails,
explained. Progress goes to stderr, so that stdout holds only what the user asked for."""
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
LOGS = BUILD / "log"
INFRASTRUCTURE = 125  # exit status: not the user's command failed, but what should have run it

# (what a failed step's log says, the likely cause and what to do about it); the first that matches counts
CAUSES = [
    (r"No space left on device", "the disk is full; `make clean` frees this checkout's share"),
    (r"Hunk #\d+ FAILED|can't find file to patch|malformed patch",
     "a patch in guest/linux/patches does not fit this kernel tree; use a 6.12.y tree or refresh the patch"),
    (r"(\S+): (?:command )?not found", "the tool {0} is missing; `make packages` installs what the kit needs"),
    (r"fatal error: (\S+): No such file", "the header {0} is missing; `make packages` installs what the kit needs"),
    (r"Killed|[Cc]annot allocate memory|out of memory", "too little memory; try `make JOBS=1`"),
    (r"Unable to (?:fetch|locate)|Could not resolve|Temporary failure|Failed to fetch",
     "the package archive cannot be reached or has dropped this version; check the network, `apt-get update`"),
    (r"(\S+:\d+(?::\d+)?: error: .*)", "the compiler stopped at {0}"),
]


def say(text):
    print(text, file=sys.stderr, flush=True)


def die(text, remedy="", status=1):
    say(f"ringlet: {text}" + (f"\n  what to do: {remedy}" if remedy else ""))
    sys.exit(status)


def tail(path, lines=12):
    """The last lines of a log, indented."""
    text = Path(path).read_text(errors="replace") if Path(path).exists() else ""
    return "".join(f"    | {line}\n" for line in text.splitlines()[-lines:])


def likely_cause(log):
    text = Path(log).read_text(errors="replace")
    for pattern, cause in CAUSES:
        found = re.search(pattern, text)
        if found:
            return cause.format(*found.groups())
    return "not known to the kit; the log's last lines are above"


class Progress:
    """One line on the terminal that counts; off a terminal, a line twice a minute."""

    def __init__(self, title, expected):
        self.title, self.expected, self.count = title, expected, 0
        self.begin = time.monotonic()
        self.shown = self.begin
        self.live = sys.stderr.isatty()

    def seconds(self):
        return f"{int(time.monotonic() - self.begin) // 60}:{int(time.monotonic() - self.begin) % 60:02}"

    def tick(self, line):
        self.count += bool(re.match(r"  [A-Z]", line))
        if time.monotonic() - self.shown < (0.5 if self.live else 30):
            return
        self.shown = time.monotonic()
        done = f"{self.count} of about {self.expected} files" if self.expected else f"{self.count} files"
        print(f"\r\033[K  {self.title}: {done}, {self.seconds()}" if self.live else
              f"  {self.title}: {done}, {self.seconds()}", end="" if self.live else "\n", file=sys.stderr, flush=True)

    def end(self, word="done"):
        say(("\r\033[K" if self.live else "") + f"  {self.title}: {word}, {self.seconds()}")


class StepFailed(SystemExit):
    """A step did not work, and the user has been told. Not caught, it ends the program with the step's status."""

    def __init__(self, status, log):
        super().__init__(status)
        self.status, self.log = status, log


def step(title, command, expected=0, **options):
    """Run command with its output in a log; show progress; explain a failure and raise StepFailed."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / (re.sub(r"\W+", "-", title) + ".log")
    command = [str(word) for word in command]
    progress = Progress(title, expected)
    with open(log, "w", errors="replace") as out:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL, text=True, errors="replace", **options)
        except OSError as error:
            die(f"{title}: cannot run {command[0]}: {error.strerror}", "`make packages`, then `make doctor`")
        for line in process.stdout:
            out.write(line)
            progress.tick(line)
        status = process.wait()
    if status:
        progress.end("FAILED")
        say(f"  tried: {' '.join(command)}\n{tail(log)}  log: {log}\n  likely cause: {likely_cause(log)}")
        raise StepFailed(status if status > 0 else 128 - status, log)
    progress.end()


def write_if_changed(path, data):
    """Leave a file's time alone when its content is the same, for make."""
    path = Path(path)
    data = data.encode() if isinstance(data, str) else data
    if path.exists() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return True


def jobs():
    return os.environ.get("JOBS") or str(os.cpu_count() or 1)


if __name__ == "__main__":  # kit.py TITLE COMMAND...
    step(sys.argv[1], sys.argv[2:])
