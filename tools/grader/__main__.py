#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""grader LAB --lay PATH=FILE... [options]: grade files that are laid over the host's initramfs, such as
modules/ringlet.ko=build/host-kit/ringlet.ko. Ends with 0 if all passed, 1 if something failed, 125 if the machinery
failed, 2 for a wrong call or a wrong lab."""
import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from grader import RubricError, grade, writers  # noqa: E402
from kit import BUILD, INFRASTRUCTURE, say  # noqa: E402


def options(parser):
    """What all who grade let choose."""
    parser.add_argument("--only", action="append", metavar="ID", help="this test or exercise, and what it comes after")
    parser.add_argument("--seed", type=int, help="that of an earlier report, to get the same again")
    parser.add_argument("--hidden", type=Path, metavar="DIR", help="a folder with more tests.py and rubric.toml")
    parser.add_argument("--jobs", type=int, help="hosts at a time")
    parser.add_argument("--results", type=Path, default=BUILD / "grade", help="folder for reports and logs")
    parser.add_argument("--autolab", action="store_true", help="end with Autolab's lines")


def tell(result):
    if result.visibility == "visible":
        say(f"  {result.id}: {result.outcome}, {result.seconds} s")


def run(lab, build, args, notes=()):
    """Grade and print; the exit status."""
    for reason in signal.SIGTERM, signal.SIGHUP:
        signal.signal(reason, lambda received, _: sys.exit(INFRASTRUCTURE))
    try:
        report = grade(lab, build, only=args.only, seed=args.seed, hidden=args.hidden, jobs=args.jobs, results=args.results,
                       progress=tell, notes=notes)
    except (RubricError, KeyError) as error:
        say(f"ringlet: {error.args[0]}")
        return 2
    except KeyboardInterrupt:
        return 130
    return show(report, args)


def show(report, args):
    print(writers.as_text(report.for_students()) + (writers.as_autolab(report) if args.autolab else ""))
    return report.status(INFRASTRUCTURE)


def main():
    parser = argparse.ArgumentParser(prog="grader", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lab", type=Path)
    parser.add_argument("--lay", action="append", default=[], metavar="PATH=FILE")
    options(parser)
    args = parser.parse_args()
    build = {}
    for pair in args.lay:
        path, _, file = pair.partition("=")
        if not file or not Path(file).is_file():
            parser.error(f"--lay {pair}: not PATH=FILE with a file that exists")
        build[path] = Path(file)
    return run(args.lab, build, args)


if __name__ == "__main__":
    sys.exit(main())
