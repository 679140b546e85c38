# SPDX-License-Identifier: GPL-2.0
"""A run as steps that a reader can go through: its trace, recorded by trace-cmd in the host, joined with the source of each step, as one
page that needs nothing else; as Chrome trace JSON, which Perfetto opens; and as the trace.dat that trace-cmd and KernelShark open."""
import base64
import bisect
import functools
import html
import json
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

import chapter as chapters
from docs import listing, source
from kit import BUILD, die
from machine import Failure, Machine

HERE = Path(__file__).parent
LINE = re.compile(r"\s*\S+-(\d+)\s+\[(\d+)\]\s+([\d.]+): (?:print:\s+\w+: )?ringlet_(\w+):\s+(.*)")
VECTORS = {1: "#DB", 2: "NMI", 3: "#BP", 6: "#UD", 8: "#DF", 13: "#GP", 14: "page fault", 18: "#MC", 31: "int $0x1f, a hypercall"}
CONTEXT = 5  # lines of source around the one that counts, where no function is shown whole
FAR = 1 << 20  # no function is so long
LONGEST = 60  # lines of a function that is shown whole


@dataclass
class Event:
    at: float          # microseconds
    task: int
    cpu: int
    name: str          # exit, hypercall, fill, flush, cr3, inject, interrupt, notify, queue
    words: dict
    chain: str = ""    # of a queue's "take"
    place: str = ""    # where the guest was: a symbol, or file:line


@dataclass
class Step:
    at: float
    name: str
    world: str         # guest, module, launcher
    title: str
    text: str          # the event as it stands in the trace
    event: dict
    sources: list = field(default_factory=list)  # [number of excerpt, line]


def record(number, command):
    """Run a command in a chapter's host under trace-cmd: (trace.dat, {path in the host: file})"""
    if not shutil.which("trace-cmd"):
        die("trace-cmd is missing", "apt-get install trace-cmd")
    chapter = chapters.manifest()[number]
    made = chapters.build(chapters.generate(BUILD / f"chapters/{number:02}", number), strict=True)
    libraries = re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", shutil.which("trace-cmd")], capture_output=True, text=True, check=True).stdout)
    replace = {**made, "bin/trace-cmd": Path(shutil.which("trace-cmd")), **{path[1:]: Path(path) for path in libraries},
               "ringlet/traced": f"exec >&2\n{command}\n".encode()}
    job = ("cd /tmp; trace-cmd record -q -b 20000 -o /tmp/trace.dat -e ringlet sh /ringlet/traced >/tmp/out 2>&1; "
           "cat /tmp/out; echo; echo @@@; base64 /tmp/trace.dat")
    output = []
    with Machine(job, replace=replace, name="view", seconds=300, **{"mem": 1024, **chapter.options}) as machine:
        machine.finish(output.append)
        if machine.why:
            raise Failure(machine.why)
    said, found, data = b"".join(output).rpartition(b"@@@")
    if not found or len(data) < 1000:
        raise Failure("the host recorded no trace: " + said.decode(errors="replace")[-500:])
    return base64.b64decode(re.sub(rb"[^A-Za-z0-9+/=]", b"", data)), made


def report(path):
    """The text of a trace.dat."""
    return subprocess.run(["trace-cmd", "report", "-t", "-i", path], capture_output=True, text=True, check=True).stdout


def events(text):
    """What stands in the text of a trace: [Event], the first at 0."""
    found = []
    for line in text.split("\n"):
        if match := LINE.match(line):
            task, cpu, at, name, rest = match.groups()
            words = dict(re.findall(r"(\w+)=(\S+)", rest))
            chain = re.sub(r"\w+=\S+ ?", "", rest) if name == "queue" else ""
            found.append(Event(float(at) * 1e6, int(task), int(cpu), name, words, chain.strip()))
    start = found[0].at if found else 0
    for event in found:
        event.at = round(event.at - start, 3)
    return found


def window(found, around="", before=20, after=100):
    """The events around the first that matches; without one, from the beginning. The first is at 0 again."""
    at = 0
    if around:
        at = next((n for n, event in enumerate(found) if re.search(around, text_of(event))), None)
        if at is None:
            die(f"no event of this run matches {around!r}", "AROUND= is a regular expression over lines such as "
                + repr(text_of(found[-1]) if found else "exit vcpu=0 vector=14"))
    found = found[max(0, at - before):at + after]
    for event in reversed(found):
        event.at = round(event.at - found[0].at, 3)
    return found


def text_of(event):
    return " ".join([event.name, *(f"{key}={value}" for key, value in event.words.items()), event.chain]).strip()


def guest_file(command, made):
    """The guest with its symbols: a tiny one that the command names, or Linux."""
    tiny = re.search(r"/guest/tiny/([\w-]+)", command)
    if tiny:
        return made[f"guest/tiny/{tiny.group(1)}"]
    kernel = made.get("guest/vmlinux")
    return kernel and kernel.with_name("vmlinux.symbols")


def locate(found, file, tiny):
    """Note where the guest was at each exit."""
    table = symbol_table(file) if file else ([], [])
    for event in found:
        if event.name == "exit" and file:
            rip = int(event.words["rip"], 16)
            event.place = source_line(file, rip) if tiny else symbol(table, rip) if event.words["ring"] != "3" else "a program"


@functools.cache
def source_line(file, rip):
    line = subprocess.run(["addr2line", "-e", file, hex(rip)], capture_output=True, text=True, check=True).stdout.strip()
    found = re.search(r"(guest/tiny/[^:]+):(\d+)", line)
    return f"{found.group(1)}:{found.group(2)}" if found else ""


@functools.cache
def symbol_table(file):
    rows = [line.split() for line in subprocess.run(["nm", file], capture_output=True, text=True, check=True).stdout.split("\n")]
    pairs = sorted((int(row[0], 16), row[2]) for row in rows if len(row) == 3 and row[1] in "tTwW")
    return [at for at, _ in pairs], [name for _, name in pairs]


def symbol(table, rip):
    at = bisect.bisect_right(table[0], rip) - 1
    if at < 0 or rip - table[0][at] > FAR:
        return "a module of the guest's kernel"
    return f"{table[1][at]}+{rip - table[0][at]:#x}"


# The text that is kept with a chapter

def noted(found):
    """Events as lines of a file."""
    return "".join(f"{event.at:.3f} {event.task} {event.cpu} {text_of(event)}" + (f" @ {event.place}" if event.place else "") + "\n"
                   for event in found)


def read(path):
    found = []
    for line in path.read_text().split("\n"):
        if line:
            line, _, place = line.partition(" @ ")
            at, task, cpu, name, *rest = line.split(" ")
            words = dict(word.split("=", 1) for word in rest if "=" in word)
            chain = " ".join(word for word in rest if "=" not in word)
            found.append(Event(float(at), int(task), int(cpu), name, words, chain, place))
    return found


# Steps and their source

class Sources:
    """Pieces of a chapter's tree, each once."""

    def __init__(self, number):
        self.number, self.found, self.pieces = number, {}, []
        self.tree = listing.tree(number)
        text = self.tree.get("include/ringlet/hypercall.h", "")
        self.hypercalls = {int(value): name for name, value in re.findall(r"#define RINGLET_HC_(\w+)\s+(\d+)", text) if name != "COUNT"}

    def piece(self, file, first, last, line):
        if (file, first, last) not in self.found:
            self.found[file, first, last] = len(self.pieces)
            self.pieces.append(listing.excerpt(self.number, file, first, last, mark=False))
        return [self.found[file, first, last], line]

    def at(self, file, line):
        """The function around a line, or some lines of it."""
        lines = len(self.tree[file].split("\n"))
        around = [(first, last) for first, last in listing.symbols(self.number, file).values() if first <= line <= last]
        first, last = max(around, default=(line, line))
        if last - first >= LONGEST or first == last:
            first, last = max(1, line - CONTEXT), min(lines, line + CONTEXT)
        return self.piece(file, first, last, line)

    def matching(self, file, pattern):
        """The function around the first line that matches; nothing if the chapter has none."""
        for number, line in enumerate(self.tree.get(file, "").split("\n"), 1):
            if re.search(pattern, line):
                return [self.at(file, number)]
        return []

    def anywhere(self, folder, pattern):
        """As matching(), in whichever file."""
        for file in sorted(self.tree):
            if file.startswith(folder) and file.endswith(".c") and (found := self.matching(file, pattern)):
                return found
        return []

    def switcher(self, first, line):
        text = self.tree["host/switcher.S"].split("\n")
        begin = next(n for n, row in enumerate(text, 1) if re.search(first, row))
        at = next(n for n, row in enumerate(text[begin - 1:], begin) if re.search(line, row))
        return [self.piece("host/switcher.S", max(1, at - 12), at + 6, at)]

    def of_exit(self, event):
        vector = int(event.words["vector"]) & 0xff
        name = {13: "X86_TRAP_GP", 14: "X86_TRAP_PF", 1: "X86_TRAP_DB", 31: "RINGLET_VECTOR"}.get(vector, "")
        handler = re.search(rf"\[{name}\] = {{ (\w+)", self.tree.get("host/exits.c", "")) if name else None
        found = self.switcher(r"^\.Lexit:", r"mov\s+%rax, %cr3")
        if handler:
            return found + self.anywhere("host/", rf"enum action {handler.group(1)}\(struct ringlet_vcpu \*vcpu\)$")
        return found + (self.matching("host/exits.c", r"FIRST_EXTERNAL_VECTOR\) {") or self.matching("host/vcpu.c", "trace_ringlet_exit"))

    def of_hypercall(self, event):
        name = self.hypercalls.get(int(event.words["number"]), "")
        handler = re.search(rf'\[RINGLET_HC_{name}\] = {{ "\w+", (\w+)', self.tree["host/hypercalls.c"])
        found = self.matching("host/hypercalls.c", r"trace_ringlet_hypercall")
        return (self.matching("host/hypercalls.c", rf"enum action {handler.group(1)}\(") if handler else []) + found

    def of_queue(self, event):
        return self.matching("launcher/virtqueue.c", rf'trace_queue\(vq, "{event.words["step"]}"')

    def of(self, event):
        if event.name in ("exit", "hypercall", "queue"):
            return getattr(self, f"of_{event.name}")(event)
        return self.anywhere("host/", rf"trace_ringlet_{event.name}\(")

    def of_place(self, place):
        file, colon, line = place.partition(":")
        return [self.at(file, int(line))] if colon and file in self.tree else []


def title(event, hypercalls):
    words = event.words
    if event.name == "exit":
        vector = int(words["vector"]) & 0xff  # the push in the stub extends the sign
        return f"The guest is left from ring {words['ring']}: {VECTORS.get(vector, f'the host has interrupt {vector}' if vector > 31 else f'exception {vector}')}"
    if event.name == "hypercall":
        name = hypercalls.get(int(words["number"]), "unknown").lower()
        return f"Hypercall {words['number']}, {name}"
    if event.name == "queue":
        return {"take": f"The device takes request {words['head']} out of the available ring",
                "fill": f"The device puts request {words['head']} into the used ring, {words['length']} bytes written",
                "publish": f"The device publishes the used index {words['used']}",
                "sleep": "The device's thread sleeps until a kick"}.get(words["step"], words["step"])
    return {"fill": f"A shadow page is filled: gva {words.get('gva')} to gpa {words.get('gpa')}",
            "flush": f"Shadow entries are dropped: {flushed(words.get('gva', ''))}", "cr3": f"Other guest page tables: {words.get('cr3')}",
            "inject": f"Vector {words.get('vector')} is injected: the guest will go on in its handler",
            "interrupt": f"Interrupt {words.get('vector')} becomes pending for the guest",
            "notify": f"The kick of device {words.get('device')}, queue {words.get('queue')}, goes to its eventfd"}[event.name]


def flushed(gva):
    return {"0": "the lower half", "0x0": "the lower half", "0xffffffffffffffff": "all"}.get(gva, f"gva {gva}")


def steps(number, found):
    """([Step], Sources). The entries between the exits leave no event of their own; they are put in."""
    sources, made, inside = Sources(number), [], {}
    for event in found:
        if event.name == "exit":
            vcpu = event.words["vcpu"]
            last = inside.get(vcpu, len(made) - 1)
            made.insert(last + 1, Step(made[last].at if made else 0, "enter", "guest", "The guest is entered", "no event of its own: what ends has begun",
                                       {}, sources.switcher(r"HOST_GUEST_GS\), %rax", r"mov\s+%rax, %cr3")))
            inside = {key: at + (at > last) for key, at in inside.items()}
        place = sources.of_place(event.place)
        made.append(Step(event.at, event.name, "launcher" if event.name == "queue" else "module", title(event, sources.hypercalls),
                         text_of(event) + (f"   in {event.place}" if event.place else ""), {**event.words, "chain": event.chain},
                         place + sources.of(event)))
        if event.name != "queue" and "vcpu" in event.words and (event.name != "interrupt"):
            inside[event.words["vcpu"]] = len(made) - 1
    return made, sources


def page(number, found, heading, out):
    """Write the page of a run."""
    made, sources = steps(number, found)
    data = {"heading": heading, "steps": [asdict(step) for step in made], "sources": sources.pieces}
    text = (HERE / "view.html").read_text()
    d3 = (source.node_modules() / "d3/dist/d3.min.js").read_text()
    parts = {"HEADING": html.escape(heading), "STYLE": (HERE / "style.css").read_text() + (HERE / "view.css").read_text(), "D3": d3,
             "DATA": json.dumps(data, ensure_ascii=False).replace("</", "<\\/"), "SCRIPT": (HERE / "view.js").read_text()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(re.sub(r"@([A-Z0-9]+)@", lambda match: parts[match.group(1)], text))
    return made


def chrome(found):
    """As Chrome's trace format has it: a track for the guest, one for the module, one for each queue."""
    rows, left, names = [], {}, {}
    for event in found:
        common = {"ts": event.at, "args": {**event.words, **({"place": event.place} if event.place else {})}}
        vcpu = int(event.words.get("vcpu", 0))
        if event.name == "queue":
            thread = int(event.words["device"]) * 16 + int(event.words["queue"])
            names[3, thread] = f"device {event.words['device']} queue {event.words['queue']}"
            rows.append({"name": event.words["step"], "ph": "i", "s": "t", "pid": 3, "tid": thread, **common})
            continue
        if event.name == "exit":
            if vcpu in left:
                rows.append({"name": f"ring {event.words['ring']}", "ph": "X", "pid": 1, "tid": vcpu, "ts": left[vcpu],
                             "dur": round(event.at - left[vcpu], 3), "args": common["args"]})
        if "vcpu" in event.words:
            left[vcpu] = event.at
        rows.append({"name": event.name, "ph": "i", "s": "t", "pid": 2, "tid": vcpu, **common})
    meta = [{"name": "process_name", "ph": "M", "pid": pid, "args": {"name": name}} for pid, name in ((1, "guest"), (2, "ringlet.ko"), (3, "launcher"))]
    meta += [{"name": "thread_name", "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}} for (pid, tid), name in names.items() if pid == 3]
    return json.dumps({"traceEvents": meta + rows, "displayTimeUnit": "ns"})
