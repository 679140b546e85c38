# SPDX-License-Identifier: GPL-2.0
"""gdb's commands for a host with ringlet.ko inside QEMU (tools/debug.py loads this):

ringlet vcpu           each vCPU: where it is, its registers, what is pending
ringlet walk GVA       the guest's tables and the shadow's side by side, and where they differ
ringlet exits          the counters
ringlet vring DEV Q    a queue: indexes, what is in flight, the chains that wait
ringlet trace [N]      go on for N events (20) and say each
break *$slot("NAME")   a place in switcher.S as it is executed, in PML4 entry 256: block 1, or $slot("NAME", 2)

They work wherever the machine has stopped, in the guest too, because they read physical memory. gdb's symbols follow the
address space: the guest's kernel while the guest runs, otherwise the host's and the launcher's."""
import os
import re
import struct

import gdb

PAGE = 4096
DIRECT_MAP, DIRECT_MAP_END = 0xffff888000000000, 0xffffc88000000000  # Documentation/arch/x86/x86_64/mm.rst
KERNEL_MAP = 0xffffffff80000000
ADDRESS = 0x000ffffffffff000
SLOT = 256
NO_PAGING = (1 << 64) - 1
FLAGS = [(0, "P"), (1, "W"), (2, "U"), (5, "A"), (6, "D"), (7, "large"), (8, "G"), (63, "NX")]


# ---- memory: physical, of the host's kernel, of the launcher, of the guest ----

def physical(address, length):
    gdb.execute("maintenance packet Qqemu.PhyMemMode:1", to_string=True)
    try:
        return bytes(gdb.selected_inferior().read_memory(address, length))
    finally:
        gdb.execute("maintenance packet Qqemu.PhyMemMode:0", to_string=True)


def word(data):
    return int.from_bytes(data, "little")


def translate(root, address):
    """A virtual address through the page tables at a physical root; None if nothing is there."""
    table = root & ADDRESS
    for shift in 39, 30, 21, 12:
        entry = word(physical(table + (address >> shift & 511) * 8, 8))
        if not entry & 1:
            return None
        if shift == 12 or (shift < 39 and entry & 0x80):
            low = (1 << shift) - 1
            return (entry & ADDRESS & ~low) | (address & low)
        table = entry & ADDRESS


def through(root, address, length):
    """Bytes at a virtual address of the address space that root is."""
    found = b""
    while length:
        now = min(length, PAGE - address % PAGE)
        place = translate(root, address)
        if place is None:
            raise gdb.GdbError(f"nothing is mapped at {address:#x}")
        found += physical(place, now)
        address, length = address + now, length - now
    return found


def evaluate(text):
    try:
        return gdb.parse_and_eval(text)
    except gdb.error as error:
        raise gdb.GdbError(f"{text}: {error}; is ringlet.ko loaded?") from error


def host_bytes(address, length):
    if DIRECT_MAP <= address < DIRECT_MAP_END:
        return physical(address - DIRECT_MAP, length)
    return through(int(evaluate("(unsigned long)&init_top_pgt")) - KERNEL_MAP, address, length)


def of_host(kind, address):
    """A structure of the module's at an address of the host's."""
    kind = gdb.lookup_type(kind) if isinstance(kind, str) else kind
    return gdb.Value(host_bytes(int(address), kind.sizeof), kind)


def has(value, name):
    return any(field.name == name for field in value.type.strip_typedefs().fields())


class Vcpu:
    def __init__(self, block, address):
        self.block, self.address = block, address
        self.struct = of_host("struct ringlet_vcpu", address)
        self.id = int(self.struct["id"])
        self.vm = of_host("struct ringlet_vm", self.struct["vm"])
        self.tables = of_host("struct switcher_tables", self.struct["tables"])
        self.trap = of_host("struct switcher_trap", self.struct["trap"])

    def guest_page(self, gpa):
        """Where a page of guest memory is: in the launcher, which has all of it in one piece. None outside of it."""
        memory = self.vm["memory"]
        for n in range(memory.type.range()[1] + 1):
            if 0 <= (gpa >> 12) - (int(memory[n]["start"]) >> 12) < int(memory[n]["count"]):
                return translate(self.launcher_root(), int(launcher(self)["memory"]["base"]) + gpa)
        return None

    def guest_cr3(self):
        return int(self.struct["shadow"]["guest_cr3"]) if has(self.struct, "shadow") else NO_PAGING

    def shadow_root(self):
        here = register("cr3")
        return here if owner(here) == self.address else int(self.tables["guest_cr3"])

    def launcher_root(self):
        mm = of_host("struct mm_struct", self.vm["mm"])
        return int(mm["pgd"]) - DIRECT_MAP


LAUNCHER = {}  # its struct vm: type and address, noted while its symbols are there


def note_launcher():
    symbol = gdb.lookup_static_symbol("vm")
    if symbol:
        LAUNCHER.update(type=symbol.type, address=int(evaluate("(unsigned long)&vm")))
    taking = gdb.lookup_global_symbol("device_broken")
    if taking:  # from its first parameter, as the kernel has a struct device of its own
        LAUNCHER["device"] = taking.type.fields()[0].type.target()


def launcher(vcpu):
    """The launcher's struct vm."""
    if not LAUNCHER:
        raise gdb.GdbError("no symbols of the launcher")
    return gdb.Value(through(vcpu.launcher_root(), LAUNCHER["address"], LAUNCHER["type"].sizeof), LAUNCHER["type"])


def vcpus():
    address, found = int(evaluate("(unsigned long)&owners")), []
    count = gdb.lookup_static_symbol("owners").type.range()[1] + 1
    for block, owned in enumerate(struct.unpack(f"<{count}Q", host_bytes(address, 8 * count))):
        if owned:
            found.append(Vcpu(block, owned))
    return found


def the_vcpu():
    """The one that runs here, else the first."""
    found = vcpus()
    if not found:
        raise gdb.GdbError("no guest has a vCPU yet; stop where it has: break handle_exit")
    here = owner(register("cr3"))
    return next((vcpu for vcpu in found if vcpu.address == here), found[0])


def register(name):
    return int(gdb.parse_and_eval(f"(unsigned long)${name}")) & NO_PAGING


def owner(cr3):
    """The address of the vCPU whose tables these are; None: the host's."""
    slot = word(physical((cr3 & ADDRESS) + SLOT * 8, 8))
    return next((vcpu.address for vcpu in vcpus() if int(vcpu.struct["slot"]) == slot), None) if slot else None


# ---- whose world is it? ----

class World:
    """Follows the address space at each stop, and shows it in the prompt."""

    def __init__(self):
        self.now = ""
        self.host, self.guest = os.environ.get("RINGLET_HOST_SYMBOLS"), os.environ.get("RINGLET_GUEST_SYMBOLS")
        self.launcher = os.environ.get("RINGLET_LAUNCHER")
        self.change("host")
        note_launcher()
        gdb.events.stop.connect(self.stopped)

    def stopped(self, event):
        try:
            now = self.find()
        except (gdb.GdbError, gdb.error):
            now = "host"
        if now.split(",")[0] != self.now.split(",")[0]:
            self.change(now.split(",")[0])
        if now != self.now:
            print(f"[{now}]")
        self.now = now

    @staticmethod
    def find():
        ring = register("cs") & 3
        if gdb.lookup_static_symbol("owners") and owner(register("cr3")) is not None:
            return f"guest, ring {ring}" if ring else "switcher, on the guest's tables"
        return "host, launcher or another program" if ring == 3 else "host"

    def change(self, side):
        """Kernel and programs of host and guest have the same addresses."""
        quiet = {"to_string": True}
        if self.now and self.host != self.guest:
            gdb.execute(f"symbol-file {self.guest if side == 'guest' else self.host}", **quiet)
        if not self.launcher:
            return
        loaded = any(objfile.filename == self.launcher for objfile in gdb.objfiles())
        if side == "guest" and loaded:
            gdb.execute(f"remove-symbol-file -a {int(evaluate('(unsigned long)&vm')):#x}", **quiet)
        elif side != "guest" and not loaded:
            gdb.execute(f"add-symbol-file {self.launcher} -o 0", **quiet)


# ---- the commands ----

class Ringlet(gdb.Command):
    __doc__ = __doc__

    def __init__(self):
        super().__init__("ringlet", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, words, from_tty):
        gdb.execute("help ringlet")


class Named(gdb.Command):
    def __init__(self, name):
        super().__init__(f"ringlet {name}", gdb.COMMAND_DATA)

    def invoke(self, words, from_tty):
        self.run(*gdb.string_to_argv(words))


class ShowVcpu(Named):
    """Each vCPU: where it is, the registers of its last exit, what is pending."""

    def run(self):
        here = owner(register("cr3"))
        for vcpu in vcpus():
            print(f"vcpu {vcpu.id}, block {vcpu.block} at {0xffff800000000000 + vcpu.block * 0x8000:#x}: {self.state(vcpu, here)}")
            regs = vcpu.struct["regs"]
            if vcpu.address == here:
                values = [(name, register(name)) for name in ("rip", "rsp", "cs", "rax", "rbx", "rcx", "rdx", "rsi")]
            else:
                values = [(name, int(regs[name])) for name in ("rip", "rsp", "cs", "rax", "rbx", "rcx", "rdx", "rsi")]
            print("  " + "  ".join(f"{name} {value:#x}" for name, value in values))
            cr3 = vcpu.guest_cr3()
            print(f"  guest's CR3 {'none yet' if cr3 == NO_PAGING else hex(cr3)}, shadow root {vcpu.shadow_root() & ADDRESS:#x}")
            if has(vcpu.trap, "shared"):
                page = vcpu.trap["shared"]
                print(f"  virtual IF {int(page['interrupts']):#x}, pending {int(page['pending'])}, cr2 {int(page['cr2']):#x}, "
                      f"vectors waiting: {self.waiting(vcpu)}")

    @staticmethod
    def state(vcpu, here):
        if vcpu.address == here:
            return "it runs, stopped in ring %d" % (register("cs") & 3)
        if vcpu.struct["dead"]:
            return "dead"
        if has(vcpu.struct, "halted") and vcpu.struct["halted"]:
            return "halted"
        return f"out, vector {int(vcpu.struct['regs']['vector'])} was the last exit" if vcpu.struct["started"] else "not started"

    @staticmethod
    def waiting(vcpu):
        words = vcpu.struct["interrupts"]
        found = [64 * n + bit for n in range(words.type.range()[1] + 1) for bit in range(64) if int(words[n]) >> bit & 1]
        return ", ".join(map(str, found)) or "none"


def flags(entry):
    return " ".join(name for bit, name in FLAGS if entry >> bit & 1) or "-"


class Walk(Named):
    """walk GVA: an address through the guest's tables and the shadow's, level by level."""

    def run(self, text=""):
        if not text:
            raise gdb.GdbError("which address? ringlet walk 0x40000000")
        gva, vcpu = int(evaluate(f"(unsigned long)({text})")) & NO_PAGING, the_vcpu()
        cr3 = vcpu.guest_cr3()
        guest = [] if cr3 == NO_PAGING else list(self.levels(cr3, gva, vcpu.guest_page))
        shadow = list(self.levels(vcpu.shadow_root(), gva, lambda address: address))
        print(f"gva {gva:#x}, vcpu {vcpu.id}" + ("" if guest else ": the guest has no tables yet, gva = gpa"))
        for n in range(max(len(guest), len(shadow))):
            name = ("PML4", "PDPT", "PD", "PT")[n] + f"[{gva >> 39 - 9 * n & 511}]"
            print(f"  {name:10} guest {self.shown(guest, n):36} shadow {self.shown(shadow, n)}")
        self.verdict(vcpu, gva, guest, shadow)

    @staticmethod
    def levels(root, gva, place):
        table = root & ADDRESS
        for shift in 39, 30, 21, 12:
            page = place(table)
            if page is None:
                yield None
                return
            entry = word(physical(page + (gva >> shift & 511) * 8, 8))
            yield entry
            if not entry & 1 or shift == 12 or (shift < 39 and entry & 0x80):
                return
            table = entry & ADDRESS

    @staticmethod
    def shown(entries, n):
        if n >= len(entries):
            return ""
        return "outside of memory" if entries[n] is None else f"{entries[n]:#x} {flags(entries[n])}"

    @staticmethod
    def verdict(vcpu, gva, guest, shadow):
        if gva >> 39 & 511 == SLOT:
            print("  this is the switcher's slot: the shadow's entry is the module's, whatever the guest's says")
        elif guest and (guest[-1] is None or not guest[-1] & 1):
            print("  the guest has no page there" + ("; the shadow has one: stale until a flush" if shadow[-1] & 1 else ""))
        elif not shadow[-1] & 1:
            print("  the shadow lacks it: the next access is a fault, and fills it")
        elif guest:
            shift = 12 + 9 * (4 - len(guest))
            gpa = (guest[-1] & ADDRESS & ~((1 << shift) - 1)) | (gva & ((1 << shift) - 1) & ~0xfff)
            if vcpu.guest_page(gpa) != shadow[-1] & ADDRESS:
                print("  they differ: the shadow shows another page. A stale entry, as a TLB may have until it is flushed")
            elif guest[-1] & 2 and not shadow[-1] & 2:
                print("  the shadow is read-only until the guest's dirty bit is set: the first write faults" if not guest[-1] & 0x40
                      else "  the shadow is read-only, the guest's entry is not: the next write fills it anew")
            else:
                print("  they agree")


class Exits(Named):
    """The counters of /sys/kernel/debug/ringlet/exits, at this moment."""

    def run(self):
        counters = gdb.lookup_type("enum counter")
        last = next(field.enumval for field in counters.fields() if field.name == "COUNT_HYPERCALLS")
        sums = self.sums(next(field.enumval for field in counters.fields() if field.name == "COUNTERS"))
        names = {n: self.string("names", n) for n in range(last)}
        table = gdb.lookup_static_symbol("hypercalls").type
        base, size = int(evaluate("(unsigned long)&hypercalls")), table.target().sizeof
        for n in range(last, len(sums)):
            name = word(host_bytes(base + (n - last) * size, 8))
            names[n] = "hypercall_" + self.text(name) if name else ""
        for n, value in enumerate(sums):
            if value:
                print(f"{names.get(n) or n} {value}")

    @staticmethod
    def sums(count):
        offsets = int(evaluate("(unsigned long)&__per_cpu_offset"))
        cpus = word(host_bytes(int(evaluate("(unsigned long)&nr_cpu_ids")), 4))
        address = int(evaluate("(unsigned long)__this_module.percpu + (unsigned long)&ringlet_counters - 0x1000"))
        rows = [struct.unpack(f"<{count}Q", host_bytes((word(host_bytes(offsets + 8 * cpu, 8)) + address) & NO_PAGING, 8 * count))
                for cpu in range(cpus)]
        return [sum(column) for column in zip(*rows)]

    @staticmethod
    def text(address):
        return host_bytes(address, 64).split(b"\0")[0].decode()

    def string(self, array, n):
        return self.text(word(host_bytes(int(evaluate(f"(unsigned long)&{array}")) + 8 * n, 8)))


class Vring(Named):
    """vring DEV Q: one queue as the launcher sees it, and what waits in it."""

    def run(self, device="", queue="0"):
        if not device:
            raise gdb.GdbError("which? ringlet vring DEV Q, as in --dry-run's list")
        vcpu = the_vcpu()
        root, vm = vcpu.launcher_root(), launcher(vcpu)
        if not has(vm, "devices"):
            raise gdb.GdbError("devices come in chapter 7")
        device, queue = int(evaluate(device)), int(evaluate(queue))
        pointer = int(vm["devices"][device])
        if not pointer:
            raise gdb.GdbError(f"there is no device {device}")
        kind = LAUNCHER["device"]
        dev = gdb.Value(through(root, pointer, kind.sizeof), kind)
        if not has(dev, "queues"):
            raise gdb.GdbError("virtqueues come in chapter 8")
        vq = dev["queues"][queue]
        name = bytes(int(dev["name"][n]) & 255 for n in range(64)).split(b"\0")[0].decode()
        size = int(vq["size"])
        if not size:
            raise gdb.GdbError(f"{name}: queue {queue} is not set up")
        self.show(root, vq, f"{name}, queue {queue}, {size} entries", size)

    def show(self, root, vq, title, size):
        avail = through(root, int(vq["avail"]), 4 + 2 * size + 2)
        used = through(root, int(vq["used"]), 4 + 8 * size + 2)
        desc = through(root, int(vq["desc"]), 16 * size)
        given, taken = word(avail[2:4]), int(vq["last_avail"])
        done, shown = int(vq["next_used"]), word(used[2:4])
        print(title + (", broken" if vq["broken"] else ""))
        print(f"  available: the driver has given {given}, the device has taken {taken}")
        print(f"  used:      the device has returned {done}, the driver can see {shown}")
        if has(vq, "event_idx") and vq["event_idx"]:
            print(f"  kick at {word(used[-2:])}, interrupt at {word(avail[-2:])} (event index)")
        else:
            print(f"  flags: available {word(avail[:2])}, used {word(used[:2])}")
        heads = [n for n in range(size) if vq["in_flight"][n]]
        print("  in flight: " + (", ".join(f"head {head}" for head in heads) or "none"))
        for n in range(taken, taken + min((given - taken) & 0xffff, 8)):
            head = word(avail[4 + 2 * (n % size):][:2])
            print(f"  waits:     head {head}: " + self.chain(desc, head, size))

    @staticmethod
    def chain(desc, head, size):
        words, at = [], head
        for _ in range(size):
            if at >= size:
                return " -> ".join([*words, f"descriptor {at}, which there is not"])
            address, length, bits, following = struct.unpack_from("<QIHH", desc, 16 * at)
            kind = "table" if bits & 4 else "device writes" if bits & 2 else "device reads"
            words.append(f"{length} bytes at gpa {address:#x} ({kind})")
            if not bits & 1:
                break
            at = following
        return " -> ".join(words)


class Point(gdb.Breakpoint):
    """Says that the machine came by, and lets it go on, as long as the trace wants."""

    def __init__(self, trace, file, function, what, arguments):
        super().__init__(source=file, function=function, internal=True)
        self.trace, self.what, self.arguments = trace, what, arguments

    def stop(self):
        values = [(re.split("[.>]", text)[-1], int(gdb.parse_and_eval(text)) & NO_PAGING) for text in self.arguments.split()]
        values = [(name, value & 0x1ff if name == "vector" else value) for name, value in values]  # its stubs push it signed
        print(f"{self.what:10} " + "  ".join(f"{name} {value:#x}" for name, value in values))
        self.trace.left -= 1
        return self.trace.left <= 0


class Trace(Named):
    """trace [N]: go on, and say what happens, for N events."""

    PLACES = [
        ("exits.c", "handle_exit", "exit", "vcpu->regs.vector vcpu->regs.rip"),
        ("hypercalls.c", "handle_hypercall", "hypercall", "vcpu->regs.rax vcpu->regs.rbx vcpu->regs.rcx"),
        ("shadow.c", "shadow_map", "fill", "gva error"),
        ("inject.c", "inject_exception", "exception", "vector"),
        ("inject.c", "interrupt_raise", "interrupt", "vector"),
        ("eventfd.c", "notify_signal", "notify", "device queue"),
    ]

    def run(self, count="20"):
        self.left = int(count)
        points = [Point(self, *place) for place in self.PLACES if gdb.lookup_global_symbol(place[1])]
        try:
            gdb.execute("continue")
        finally:
            for point in points:
                point.delete()


class Slot(gdb.Function):
    """$slot(NAME, BLOCK=1): where a label of switcher.S is executed."""

    def __init__(self):
        super().__init__("slot")

    def invoke(self, name, block=1):
        offset = int(evaluate(f"(unsigned long)&{name.string()} - (unsigned long)&switcher_text"))
        return gdb.Value(0xffff800000000000 + int(block) * 0x8000 + offset).cast(gdb.lookup_type("unsigned long"))


Ringlet()
Slot()
ShowVcpu("vcpu")
Walk("walk")
Exits("exits")
Vring("vring")
Trace("trace")
World()
