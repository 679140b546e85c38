# SPDX-License-Identifier: GPL-2.0
"""Lab 2. /lab/calls is a guest that does what its command line says, in hexadecimal numbers, and reports by a hypercall of its
own, so that nothing needs to be printed; /lab/answers is a launcher whose answers come from the test. The student's module runs
under our launcher and the student's launcher on our module."""
from grader import expect, test
from machine import Failure, accelerator

MEMORY = 3 << 20
FREE = 0x140000  # above the guest's program, below the 2 MiB that it sees
ENOSYS, EINVAL = -38, -22


def guest(host, words, launcher="ringlet", **options):
    """Run /lab/calls. words: strings and numbers."""
    text = " ".join(word if isinstance(word, str) else f"{word % 2**64:x}" for word in ["s", host.random.getrandbits(60) | 1, *words])
    return host.run(f"{launcher} run -k /lab/calls -m 3 -p '{text}'", **options)


def reports(run, number=1000):
    """(result, changed registers) of each of the guest's calls, from the trace."""
    calls = [event["args"] for event in run.find(f"hypercall: .*number={number} args=0x77,")]
    return [(call[1] - (call[1] >> 63 << 64), call[2]) for call in calls]


def put(host, length):
    """Random bytes, and how the guest puts them where there is room."""
    data = host.random.randbytes(length)
    return data, ["b", FREE, data.hex()]


@test("2.1-exceptions", ours="launcher")
def exceptions(host):
    """handle_exit() counts an exit and calls its row."""
    cases = {"31c9f7f1": (0, "0x0"), "0f0b": (6, "0x0"), "f4": (13, "0x0"), "cd40": (13, "0x[24]02"), "a10000004000000000": (14, "0x0")}
    cases = host.random.sample(list(cases.items()), len(cases))
    for code, (vector, error) in cases:
        run = guest(host, ["b", FREE, code, "x", FREE])
        run.has(rf"guest killed: exception {vector}, error {error} ", f"the instruction {code} ended otherwise")
        expect(run.status, 4, "exit status of the launcher")
        run.order(f"exit: .* vector={vector} ")
    counters = host.counters()
    expect(counters["exit_exception"], len(cases), "counter exit_exception")
    expect(counters["entries"], len(cases), "counter entries")


@test("2.1-hypercall", ours="launcher")
def hypercall(host):
    """Vector 0x1f has a row of its own."""
    number = host.random.randrange(1001, 2000)
    run = guest(host, ["c", number, 1, 2, 3, 4])
    run.order("exit: .* vector=31 ", f"hypercall: .*number={number} args=0x1,0x2,0x3,0x4")
    calls, counters = len(run.find("exit: .* vector=31 ")), host.counters()
    expect((counters["exit_hypercall"], counters["exit_exception"]), (calls, 0), "counters exit_hypercall and exit_exception")


@test("2.2-unknown", ours="launcher")
def unknown(host):
    """Neither a hole in the table nor a number behind it is called; the guest goes on with all other registers."""
    numbers = [26, 27, 2, 25, *host.random.sample(range(3, 25), 4), *(host.random.randrange(26, 1 << 31) for _ in range(4))]
    words = [word for number in numbers for word in ("c", number, *(host.random.getrandbits(64) for _ in range(4)))]
    run = guest(host, words)
    for number, report in zip(numbers, reports(run)):
        expect(report, (ENOSYS, 0), f"result and changed registers of hypercall {number}")
    expect(len(reports(run)), len(numbers), "calls that came back")


@test("2.2-wide", ours="launcher")
def wide(host):
    """The number is compared as what it is: 64 bits, without a sign."""
    numbers = [1 << 63, 1 << 32, (1 << 63) + 1, (host.random.getrandbits(31) << 33) + 1, 2**64 - 1, 2**64 - 26, 1 << 31]
    run = guest(host, [word for number in numbers for word in ("c", number, 0, 0, 0, 0)])
    for number, report in zip(numbers, reports(run)):
        expect(report, (ENOSYS, 0), f"result and changed registers of hypercall {number:#x}")
    expect(len(reports(run)), len(numbers), "calls that came back")


@test("2.2-counted", ours="launcher")
def counted(host):
    """The counter hypercall_NAME counts those and nothing else."""
    count = host.random.randrange(3, 9)
    for _ in range(count):
        host.run("ANSWERS=0 /lab/answers run -k /lab/calls -m 3 -p 'c 0 0 0 0 0'")
    guest(host, ["c", 999, 0, 0, 0, 0])
    counters = host.counters()
    expect(counters["hypercall_print"], count, "counter hypercall_print")
    expect({name for name, value in counters.items() if value and name.startswith("hypercall_")} - {"hypercall_shutdown"},
           {"hypercall_print"}, "counters that are not zero")


def with_answers(host, calls, answers):
    """Hypercalls of known numbers to a launcher that answers so. The guest's reports go to it, too, as number 1."""
    words = ["r", 1] + [word for call in calls for word in ("c", *call)]
    texts = [text for answer in answers for text in (str(answer), "0")]
    return guest(host, words, launcher=f"ANSWERS='{' '.join(texts)}' /lab/answers")


def random_calls(host, count):
    return [(host.random.randrange(2), *(host.random.getrandbits(64) for _ in range(4))) for _ in range(count)]


@test("2.3-arguments", ours="launcher")
def arguments(host):
    """struct ringlet_run's number and args: rbx, rcx, rdx, rsi."""
    calls = random_calls(host, 6)
    run = with_answers(host, calls, [0] * len(calls))
    seen = [line.split(", answer")[0] for line in run.output.splitlines() if ": 0x77 " not in line]
    expect(seen, [f"{call[0]}: " + " ".join(f"{arg:#x}" if arg else "0" for arg in call[1:]) for call in calls],
           "what the launcher sees in struct ringlet_run")
    expect(run.status, 0, "exit status of the launcher")


@test("2.3-answer", ours="launcher")
def answer(host):
    """vcpu_run() completes a hypercall."""
    calls = random_calls(host, 6)
    answers = [host.random.getrandbits(63) * host.random.choice([1, -1]) for _ in calls]
    run = with_answers(host, calls, answers)
    expect(reports(run, 1), [(value, 0) for value in answers], "what the guest has got, and which registers it changed")


@test("2.3-silence", ours="launcher")
def silence(host):
    """The answer is -ENOSYS until the launcher gives another; the last one does not count."""
    calls = random_calls(host, 4)
    given = [host.random.getrandbits(31), "x", host.random.getrandbits(31), "x"]
    run = with_answers(host, calls, given)
    expect([result for result, _ in reports(run, 1)], [ENOSYS if value == "x" else value for value in given],
           "what the guest has got; x is a launcher that says nothing")


def on_our_module(host, words):
    """The student's launcher under our module."""
    run = guest(host, words)
    expect(run.status, 0, f"exit status of the launcher, which said {run.output[-200:]!r}")
    return run


@test("2.4-text", ours="module")
def text(host):
    """hc_print() prints bytes, not a string."""
    data, words = put(host, host.random.randrange(200, 400))
    start = host.random.randrange(100)
    last = MEMORY - 4096
    run = on_our_module(host, words + ["c", 0, FREE, len(data), 5, 6, "c", 0, FREE + start, 50, 0, 0, "c", 0, FREE, 0, 0, 0,
                                       "c", 0, last, 4096, 0, 0, "c", 0, MEMORY, 0, 0, 0])
    expect(reports(run), [(0, 0)] * 5, "results and changed registers")
    printed = (data + data[start:start + 50] + bytes(4096)).decode(errors="replace").replace("\r\n", "\n")
    expect(run.output, printed, "what is printed")


@test("2.4-bounds", ours="module")
def bounds(host):
    """Nothing is printed that the guest does not own: not a byte more than its memory, and no sum that wraps."""
    room = host.random.randrange(2, 4000)
    wrong = [(MEMORY - room, room + 1), (MEMORY, 1), (FREE, 4097), (FREE, 1 << 32), (2**64 - room, room + 1), (2**64 - 1, 1),
             (2**64 - 8, 16), (1 << 40, room), (FREE, 2**64 - FREE), (FREE, 2**64 - 1), (MEMORY + 1, 0)]
    run = on_our_module(host, [word for gpa, length in wrong for word in ("c", 0, gpa, length, 0, 0)])
    for (gpa, length), report in zip(wrong, reports(run)):
        expect(report, (EINVAL, 0), f"result of printing {length:#x} bytes at gpa {gpa:#x}")
    expect((len(reports(run)), run.output), (len(wrong), ""), "calls that came back, and what was printed")


def emulated():
    if accelerator() == "kvm":
        raise Failure("KVM takes vmcall for itself: use ACCEL=tcg")


@test("2.5-rewritten", ours="launcher")
def rewritten(host):
    """rewrite_vmcall(): one trap for each place, then none."""
    emulated()
    host.load("vmcall=1")
    places = [FREE + 64 * i + host.random.randrange(60) for i in range(4)]
    last = host.random.choice(["c1", "d9"])
    names = dict(zip(places, ["c1", "d9", last, "c1"]))
    words = []
    for place in places:
        words += ["b", place, f"0f01{names[place]}c3", "i", place] + ["c", 0, FREE, 0, 0, 0] * 3 + ["d", place]
    run = guest(host, words)
    for number, place in enumerate(places):
        run.order(f"exit: .* vector=6 .*rip={place:#x} ", f"exit: .* vector=31 .*rip={place + 2:#x} ",
                  f"exit: .* vector=31 .*rip={place + 2:#x} ", what=f"a trap, then hypercalls, of 0f 01 {names[place]}")
        part = reports(run)[4 * number:4 * number + 4]
        expect(part[:3], [(0, 0)] * 3, f"results and changed registers of three times 0f 01 {names[place]}")
        expect(f"{part[3][0] % 2**32:08x}", "c3901fcd", "what stands there now, the last byte first")
    expect(len(run.find("exit: .* vector=6 ")), len(places), "traps")


@test("2.5-others", ours="launcher")
def others(host):
    """Only 0f 01 c1 and 0f 01 d9 are rewritten, and those only on demand."""
    emulated()
    run = guest(host, ["b", FREE, "0f01c1c3", "x", FREE])
    run.has("guest killed: exception 6, error 0x0 ", "vmcall without vmcall=1 ended otherwise")
    host.check("rmmod ringlet; insmod /modules/ringlet.ko vmcall=1")
    for code in "0f01c4", "0f0b", "0f01c2", "06c1":
        run = guest(host, ["b", FREE, code + "c3", "x", FREE])
        run.has("guest killed: exception 6, error 0x0 ", f"{code} ended otherwise")
        expect(len(run.find("exit: ")), 1, f"exits when {code} is the first and last of them")


@test("2.5-edges", ours="launcher")
def edges(host):
    """Each byte is looked up by itself, and need not be there."""
    emulated()
    host.load("vmcall=1")
    for before in 1, 2:
        place = FREE + 4096 * host.random.randrange(1, 20) - before
        run = guest(host, ["b", place, "0f01c1c3", "i", place] + ["c", 0, FREE, 0, 0, 0] * 2 + ["d", place])
        expect([(result % 2**32, changed) for result, changed in reports(run)], [(0, 0)] * 2 + [(0xC3901FCD, 0)],
               f"a vmcall with {before} of its bytes in the first page")
    for code in "06", "0f0b":
        place = (2 << 20) - len(code) // 2
        run = host.run(f"ringlet run -k /lab/calls -m 2 -p 'b {place:x} {code} x {place:x}'")
        run.has("guest killed: exception 6, error 0x0 ", f"{code} as the last bytes of memory ended otherwise")
    run.no_warnings()
