# SPDX-License-Identifier: GPL-2.0
"""Lab 4: a guest plays scripts (extra/guest.c): page tables made here, and what the guest then sees through them."""
import struct

from grader import Mismatch, expect, test as grader_test

P, W, U, A, D, PS = 1, 2, 4, 0x20, 0x40, 0x80
NX = 1 << 63
PAT = 1 << 12                       # of a large leaf
FULL = P | W | A | D                # leaves nothing for the walk to mark
MEMORY = 8 << 20                    # of the guest
DATA = range(0x30000, 0x9e000, 4096)  # free pages, for data
TABLES = range(0x130000, 0x200000, 4096)
RET = 0xc3
RING_3 = 0x5000_0000_0000           # gva of the code of ring 3, and of a page that is not there
NOWHERE = 0x6000_0000_0000
USER_CODE = bytes.fromhex("488b07 48c1e00c 4801f0 488b00")  # mov (%rdi),%rax; shl $12,%rax; add %rsi,%rax; mov (%rax),%rax


def test(id):
    """On a host that zeroes what it allocates, so that a page that nobody cleared holds what the student left there."""
    return grader_test(id, boot="init_on_alloc=1")


def canonical(gva):
    return gva | 0xffff << 48 if gva >> 47 & 1 else gva


def index(gva, level):
    return gva >> (12 + 9 * (level - 1)) & 511


class Script:
    """Operations of extra/guest.c, and the page tables that they make."""

    END, FILL, HYPERCALL, READ, WRITE, CALL, USER, SUM = range(8)
    LOAD_CR3, FLUSH_ALL, FLUSH_PAGE = 3, 5, 6

    def __init__(self):
        self.ops = []
        self.free = list(TABLES)
        self.root = self.free.pop(0)
        self.tables = {}                # entry's gpa: table's gpa
        self.identity()

    def op(self, *words):
        self.ops.append((*words, 0, 0, 0, 0, 0)[:6])

    def poke(self, gpa, value):
        self.op(self.FILL, gpa, 1, 0, value, 0)

    def entry(self, gva, level, upper=FULL | U):
        """gpa of the entry for gva at a level; tables above it are made with the rights upper."""
        table = self.root
        for at in range(4, level, -1):
            place = table + 8 * index(gva, at)
            if place not in self.tables:
                self.tables[place] = self.free.pop(0)
                self.poke(place, self.tables[place] | upper)
            table = self.tables[place]
        return table + 8 * index(gva, level)

    def identity(self):
        """The guest itself stands at gva = gpa, in small pages that nothing can go wrong with."""
        self.op(self.FILL, self.entry(0, 1), 512, 8, FULL, 4096)

    def map(self, gva, gpa, rights=FULL, level=1, upper=FULL | U):
        self.poke(self.entry(gva, level, upper), gpa | rights | (PS if level > 1 else 0))

    def use(self):
        self.op(self.HYPERCALL, self.LOAD_CR3, self.root)

    def bytes(self):
        return b"".join(struct.pack("<6Q", *(word & (1 << 64) - 1 for word in op)) for op in self.ops)


def play(host, **scripts):
    """Play scripts; {name: what the guest printed, and how it ended}, and the run."""
    run = host.check("/lab/play " + " ".join(scripts), files={name: script.bytes() for name, script in scripts.items()},
                     events="fill,exit")
    parts = run.output.split("-- ")
    said = {}
    for name, end in zip(parts[1::2], parts[2::2]):
        said[name.split("\n")[0]] = name.split("\n", 1)[1] + end
    expect(sorted(said), sorted(scripts), "the scripts that were played")
    return said, run


def played(said, *lines):
    """The guest printed these lines and came to its end."""
    expect(said, "".join(f"{line}\n" for line in [*lines, "the script is played", "it ended with 0"]),
           "what the guest saw through its page tables")


def faulted(said, gva, error):
    """The guest's own page fault ended it."""
    wanted = f"page fault at gva {canonical(gva):#x}, error {error:#x} "
    if wanted not in said:
        raise Mismatch("the access is a page fault of the guest's own", wanted, said)


def outside(said, gva):
    wanted = f"page tables lead outside memory at gva {canonical(gva):#x} "
    if wanted not in said:
        raise Mismatch("page tables that lead out of memory end the guest", wanted, said)


def fills(run, gva):
    return len([event for event in run.find("fill: ") if event["gva"] & ~0xfff == canonical(gva) & ~0xfff])


def addresses(random, count):
    """Pages far from one another, and where nothing else is."""
    taken = 256, index(RING_3, 4), index(NOWHERE, 4)
    slots = random.sample([slot for slot in range(1, 512) if slot not in taken], count)
    return [slot << 39 | random.randrange(1 << 27) << 12 for slot in slots]


def data(script, random, count):
    """Some data pages, each with a number at a place: [(gpa, offset, number)]."""
    pages = [(gpa, 8 * random.randrange(512), random.randrange(1 << 60)) for gpa in random.sample(DATA, count)]
    for gpa, offset, number in pages:
        script.poke(gpa + offset, number)
    return pages


def with_rights(gva, gpa, rights):
    """A script in which the four entries for gva have rights[level]; the leaf at level 1."""
    script = Script()
    script.map(gva, gpa)
    for level in 2, 3, 4:
        place = script.entry(gva, level)
        script.poke(place, script.tables[place] | rights[level])
    script.poke(script.entry(gva, 1), gpa | rights[1])
    return script


def without(right, levels, gva, gpa, start=FULL | U):
    return with_rights(gva, gpa, {level: start & ~right if level in levels else start for level in (1, 2, 3, 4)})


def for_ring_3(script):
    """A page of ring 3's own, with its code."""
    script.map(RING_3, DATA[1], FULL | U)
    for at in 0, 8:
        script.poke(DATA[1] + at, int.from_bytes(USER_CODE[at:at + 8], "little"))


def in_ring_3(script, gva):
    """Let ring 3 read the number n at gva, and then page n from NOWHERE on."""
    script.op(Script.USER, RING_3, canonical(gva), NOWHERE)


# 4.1 The walk


@test("4.1-levels")
def levels(host):
    """Guards the four levels: random small pages, some under the same tables."""
    script = Script()
    places = []
    bases = addresses(host.random, 8)
    for (gpa, offset, number), n in zip(data(script, host.random, 24), range(24)):
        gva = bases[n % 8]
        gva = gva & ~(511 << 12) | (index(gva, 1) + n // 8 * 100) % 512 << 12
        script.map(gva, gpa)
        places.append((canonical(gva + offset), number))
    script.use()
    for gva, _ in places:
        script.op(Script.READ, gva)
    played(play(host, script=script)[0]["script"], *(f"read {number}" for _, number in places))


@test("4.1-large")
def large(host):
    """Guards leaves of 2 MiB and of 1 GiB: where in them an address lies, and the bits below their address."""
    script = Script()
    two, one, last, window = (gva >> 30 << 30 for gva in addresses(host.random, 4))
    two += host.random.randrange(512) << 21
    script.map(two, 0, FULL | PAT, level=2)
    script.map(one, 0, FULL | PAT, level=3)
    script.map(last, MEMORY - (2 << 20), FULL, level=2)
    pages = data(script, host.random, 6)
    far = MEMORY - 4096 * host.random.randrange(2, 500)
    script.map(window, far)
    script.use()
    number = host.random.randrange(1 << 60)
    script.poke(canonical(window + 8), number)
    for gpa, offset, _ in pages:
        script.op(Script.READ, canonical(two + gpa + offset))
        script.op(Script.READ, canonical(one + gpa + offset))
    script.op(Script.READ, canonical(last + (far - (MEMORY - (2 << 20))) + 8))
    played(play(host, script=script)[0]["script"],
           *(f"read {value}" for _, _, value in pages for _ in range(2)), f"read {number}")


@test("4.1-bounds")
def bounds(host):
    """Guards the end of memory: its last page is the guest's, the next is not, at no level, whatever the high bits."""
    scripts = {}
    gva, = addresses(host.random, 1)
    number = host.random.randrange(1 << 60)
    last = scripts["last"] = Script()
    last.map(gva, MEMORY - 4096)
    last.use()
    last.poke(canonical(gva + 4088), number)
    last.op(Script.READ, canonical(gva + 4088))
    beyond = [MEMORY, 1 << host.random.randrange(32, 51), 1 << 51]
    for level in 1, 2, 3, 4:
        bad = scripts[f"level{level}"] = Script()
        place = bad.entry(gva, level)
        # A table that is good but for its high bits: whoever cuts them off finds it.
        bad.poke(place, (bad.free[0] if level > 1 else DATA[0]) + host.random.choice(beyond) | FULL | U)
        bad.use()
        bad.op(Script.READ, canonical(gva))
    root = scripts["root"] = Script()
    root.op(Script.HYPERCALL, Script.LOAD_CR3, MEMORY)
    said, run = play(host, **scripts)
    played(said["last"], f"read {number}")
    for level in 1, 2, 3, 4:
        outside(said[f"level{level}"], gva)
    if "page tables lead outside memory at gva 0x10" not in said["root"]:
        raise Mismatch("page tables that lead out of memory end the guest", "... outside memory at gva 0x10...", said["root"])
    run.no_warnings()


@test("4.1-absent")
def absent(host):
    """Guards what is not there: each level, and the bit that is reserved in a PML4 entry."""
    scripts = {}
    gva, = addresses(host.random, 1)
    write = host.random.randrange(2)
    for level in 1, 2, 3, 4:
        script = scripts[f"level{level}"] = Script()
        script.map(gva, DATA[0])
        script.poke(script.entry(gva, level), host.random.randrange(1 << 50) << 1)
        script.use()
        script.op(*((Script.WRITE, canonical(gva), 1) if write else (Script.READ, canonical(gva))))
    script = scripts["reserved"] = Script()
    script.map(gva, DATA[0])
    script.poke(script.entry(gva, 4), script.tables[script.entry(gva, 4)] | FULL | PS)
    script.use()
    script.op(Script.READ, canonical(gva))
    said, _ = play(host, **scripts)
    for level in 1, 2, 3, 4:
        faulted(said[f"level{level}"], gva, 2 * write)
    faulted(said["reserved"], gva, 9)


# 4.2 The fill


@test("4.2-once")
def once(host):
    """Guards the tables on the way: each page is filled once, and a table that was used before holds nothing old."""
    script = Script()
    pages = data(script, host.random, 40)
    places = [(gva & ~0x3fffffff, page) for gva, page in zip(addresses(host.random, 6) * 7, pages)]
    places = [(gva + (n << 21) + (n % 5 << 12), *page) for n, (gva, page) in enumerate(places)]
    again = places[20:]
    for gva, gpa, _, _ in places:
        script.map(gva, gpa)
    script.use()
    for gva, _, offset, _ in places[:20] * 2:
        script.op(Script.READ, canonical(gva + offset))
    script.op(Script.HYPERCALL, Script.FLUSH_ALL)
    for gva, _, offset, _ in again * 2:
        script.op(Script.READ, canonical(gva + offset))
    said, run = play(host, script=script)
    played(said["script"], *(f"read {number}" for _, _, _, number in places[:20] * 2 + again * 2))
    for gva, *_ in places:
        expect(fills(run, gva), 1, f"fills of gva {canonical(gva):#x}")


@test("4.2-full")
def full(host):
    """Guards the end of the free pages: the guest must not notice."""
    script = Script()
    gva, = addresses(host.random, 1)
    gva &= (1 << 39) - 1
    (gpa, offset, number), = data(script, host.random, 1)
    script.map(1 << 39 | gva, gpa)
    script.op(Script.FILL, script.root + 16, 254, 8, script.tables[script.root + 8] | FULL, 0)
    script.op(Script.FILL, script.root + 8 * 257, 255, 8, script.tables[script.root + 8] | FULL, 0)
    script.use()
    for _ in range(2):
        script.op(Script.SUM, (1 << 39) + gva + offset, 255, 1 << 39)
        script.op(Script.SUM, (0xffff << 48) + (257 << 39) + gva + offset, 255, 1 << 39)
    total = 0
    for _ in range(255):
        total = total * 3 + number & (1 << 64) - 1
    played(play(host, script=script)[0]["script"], *[f"sum {total}"] * 4)


# 4.3 The leaf


@test("4.3-rights")
def leaf_rights(host):
    """Guards the shadow's entry: a read fills it, and the CPU must still refuse what the guest's tables refuse."""
    gva, = addresses(host.random, 1)
    scripts = {"write": without(W | U, [1], gva, DATA[0]), "above": without(W | U, [3], gva, DATA[0]),
               "user": without(U, [1], gva, DATA[0]), "nx": without(U, [1, 2, 3, 4], gva, DATA[0], FULL)}
    scripts["nx"].poke(scripts["nx"].entry(gva, 1), DATA[0] | FULL | NX)
    errors = {"write": 3, "above": 3, "user": 5, "nx": 0x11}
    for name, script in scripts.items():
        script.poke(DATA[0], RET)
        for_ring_3(script)
        script.use()
        script.op(Script.READ, canonical(gva))
        if name == "user":
            in_ring_3(script, gva)
        else:
            script.op(Script.CALL if name == "nx" else Script.WRITE, canonical(gva), 1)
        said, run = play(host, **{name: script})
        run.order(f"fill: .*gva={canonical(gva):#x} ", f"exit: .*vector=14 error={errors[name]:#x} ",
                  what=f"{name}: a read fills the page, then the forbidden access is a page fault (vector 14)")
    free = without(0, [], gva, DATA[0])
    free.poke(DATA[0], 7)
    for_ring_3(free)
    free.use()
    free.op(Script.READ, canonical(gva))
    in_ring_3(free, gva)
    said, run = play(host, free=free)
    faulted(said["free"], NOWHERE + (7 << 12), 4)
    expect(fills(run, gva), 1, "fills of a page that ring 1 and then ring 3 read: U is in the shadow as well")


@test("4.3-dirty")
def leaf_dirty(host):
    """Guards dirty tracking: the page is writable in the shadow once the guest's D is set, and not before."""
    clean, used = addresses(host.random, 2)
    script = Script()
    script.map(clean, DATA[0], P | W | A)
    script.map(used, DATA[1], FULL)
    script.use()
    script.op(Script.READ, canonical(clean))
    script.poke(script.entry(clean, 1), DATA[0] | FULL)     # what a walk would do
    script.op(Script.WRITE, canonical(clean), 1)
    script.op(Script.READ, canonical(used))
    script.op(Script.WRITE, canonical(used), 1)
    said, run = play(host, script=script)
    expect(fills(run, clean), 2, "fills of a page that is read while D is 0 and then written: the write must be noticed")
    expect(fills(run, used), 1, "fills of a page with D, read and then written: nothing is left to notice")
    played(said["script"], "read 0", "written", "read 0", "written")


# 4.4 Rights


@test("4.4-write")
def write(host):
    """Guards writes of ring 1: one entry on the way without W is enough, whichever."""
    gva, = addresses(host.random, 1)
    scripts = {f"level{level}": without(W | U, [level], gva, DATA[0]) for level in (1, 2, 3, 4)}
    scripts["free"] = without(U, [1, 2, 3, 4], gva, DATA[0])
    for script in scripts.values():
        script.use()
        script.op(Script.WRITE, canonical(gva), 1)
    said, _ = play(host, **scripts)
    for level in 1, 2, 3, 4:
        faulted(said[f"level{level}"], gva, 3)
    played(said["free"], "written")


@test("4.4-user")
def user(host):
    """Guards ring 3: it needs U at every level, and has it where all say so."""
    gva, = addresses(host.random, 1)
    number = host.random.randrange(1, 1000)
    scripts = {f"level{level}": without(U, [level], gva, DATA[0]) for level in (1, 2, 3, 4)}
    scripts["free"] = without(0, [], gva, DATA[0])
    for script in scripts.values():
        script.poke(DATA[0], number)
        for_ring_3(script)
        script.use()
        in_ring_3(script, gva)
    said, _ = play(host, **scripts)
    for level in 1, 2, 3, 4:
        faulted(said[f"level{level}"], gva, 5)
    faulted(said["free"], NOWHERE + (number << 12), 4)


@test("4.4-fetch")
def fetch(host):
    """Guards execution: NX at one level is enough; ring 1 executes no page of ring 3."""
    gva, = addresses(host.random, 1)
    scripts = {}
    for level in 1, 2, 3, 4:
        scripts[f"level{level}"] = with_rights(gva, DATA[0], {at: FULL | (NX if at == level else 0) for at in (1, 2, 3, 4)})
    scripts["smep"] = without(0, [], gva, DATA[0])
    scripts["free"] = without(U, [1], gva, DATA[0])
    for script in scripts.values():
        script.poke(DATA[0], RET)
        script.use()
        script.op(Script.CALL, canonical(gva))
    said, _ = play(host, **scripts)
    for level in 1, 2, 3, 4:
        faulted(said[f"level{level}"], gva, 0x11)
    faulted(said["smep"], gva, 0x11)
    played(said["free"], "called")


@test("4.4-mixed")
def mixed(host):
    """Guards rights in random combinations of levels."""
    scripts, refused = {}, {}
    gva, = addresses(host.random, 1)
    for n in range(8):
        likely = 0.15 if n > 1 else 0   # the first two lack one right at one level
        rights = {level: FULL ^ sum(bit for bit in (W, NX) if host.random.random() < likely) for level in (1, 2, 3, 4)}
        if n < 2:
            rights[host.random.randrange(1, 5)] ^= W | NX
        script = scripts[f"n{n}"] = with_rights(gva, DATA[0], rights)
        script.poke(DATA[0], RET)
        script.use()
        fetching = n % 2
        script.op(*((Script.CALL, canonical(gva)) if fetching else (Script.WRITE, canonical(gva), 1)))
        values = rights.values()
        refused[f"n{n}"] = any(value & NX for value in values) if fetching else not all(value & W for value in values)
    said, _ = play(host, **scripts)
    for name, no in refused.items():
        fetching = int(name[1]) % 2
        if no:
            faulted(said[name], gva, 0x11 if fetching else 3)
        else:
            played(said[name], "called" if fetching else "written")


# 4.5 Accessed and dirty


def entries_after(host, operation, rights):
    """Do an operation at a page whose entries have these rights; the bits of the four entries, level 4 first."""
    gva, = addresses(host.random, 1)
    script = with_rights(gva, DATA[0], rights)
    script.map(gva ^ 4096, DATA[1], P | W)      # never touched
    script.use()
    script.op(operation, canonical(gva), 1)
    for level in 4, 3, 2, 1:
        script.op(Script.READ, script.entry(gva, level))
    script.op(Script.READ, script.entry(gva ^ 4096, 1))
    said, _ = play(host, script=script)
    lines = [line for line in said["script"].splitlines() if line.startswith("read ")][-5:]
    if len(lines) < 5:
        raise Mismatch("the entries can be read", "five numbers", said["script"])
    return [int(line.split()[1]) & 0x67 for line in lines]


@test("4.5-accessed")
def accessed(host):
    """Guards the accessed bits: at every level of the way, and nowhere else."""
    got = entries_after(host, Script.READ, {1: P | W | D, 2: P | W, 3: P | W, 4: P | W})
    expect([f"{bits & A:#x}" for bits in got], ["0x20"] * 4 + ["0x0"],
           "A in the entries of levels 4, 3, 2, 1, and in one that nobody used")


@test("4.5-dirty")
def dirty(host):
    """Guards the dirty bit: by a write, in the leaf alone; not by a read."""
    rights = {1: P | W | A, 2: P | W | A, 3: P | W | A, 4: P | W | A}
    what = "D in the entries of levels 4, 3, 2, 1, and in one that nobody used, after a "
    got = entries_after(host, Script.WRITE, rights)
    expect([f"{bits & D:#x}" for bits in got], ["0x0"] * 3 + ["0x40", "0x0"], what + "write")
    got = entries_after(host, Script.READ, rights)
    expect([f"{bits & D:#x}" for bits in got], ["0x0"] * 5, what + "read")


# 4.6 The flush


@test("4.6-page")
def flush_page(host):
    """Guards the flush of one page: it is gone, its neighbours are not, and where nothing is nothing happens."""
    script = Script()
    base, empty = addresses(host.random, 2)
    base &= ~(511 << 12)
    k = host.random.randrange(8)
    pages = data(script, host.random, 9)
    old, new = pages[k], pages[8]
    for n in range(8):
        script.map(base + (n << 12), pages[n][0])
    script.poke(old[0], 1111)
    script.poke(new[0], 2222)
    script.use()
    for n in range(8):
        script.op(Script.READ, canonical(base + (n << 12) + pages[n][1]))
    script.op(Script.READ, canonical(base + (k << 12)))
    script.poke(script.entry(base + (k << 12), 1), new[0] | FULL)
    script.op(Script.HYPERCALL, Script.FLUSH_PAGE, canonical(empty))
    script.op(Script.HYPERCALL, Script.FLUSH_PAGE, canonical(base + (400 << 12)))
    script.op(Script.READ, canonical(base + (k << 12)))
    script.op(Script.HYPERCALL, Script.FLUSH_PAGE, canonical(base + (k << 12) + host.random.randrange(4096)))
    script.op(Script.READ, canonical(base + (k << 12)))
    for n in set(range(8)) - {k}:
        script.op(Script.READ, canonical(base + (n << 12) + pages[n][1]))
    said, run = play(host, script=script)
    first = [f"read {number if offset else 1111 if n == k else number}" for n, (_, offset, number) in enumerate(pages[:8])]
    rest = [f"read {pages[n][2]}" for n in set(range(8)) - {k}]
    played(said["script"], *first, "read 1111", "read 1111", "read 2222", *rest)
    for n in range(8):
        expect(fills(run, base + (n << 12)), 2 if n == k else 1, f"fills of page {n}, of which page {k} was flushed once")
    run.no_warnings()


@test("4.6-large")
def flush_large(host):
    """Guards INVLPG of a large page: all pieces of it go, whichever address is named."""
    script = Script()
    base, = addresses(host.random, 1)
    base &= ~0x1fffff
    script.map(base, 0, FULL, level=2)
    pieces = host.random.sample(range(512), 5)
    script.use()
    for n in pieces[:4]:
        script.op(Script.READ, canonical(base + (n << 12)))
    script.op(Script.HYPERCALL, Script.FLUSH_PAGE, canonical(base + (pieces[4] << 12)))
    for n in pieces[:4]:
        script.op(Script.READ, canonical(base + (n << 12)))
    _, run = play(host, script=script)
    for n in pieces[:4]:
        expect(fills(run, base + (n << 12)), 2, f"fills of piece {n} of a 2 MiB page that was flushed by its piece {pieces[4]}")
    expect(fills(run, base + (pieces[4] << 12)), 0, f"fills of piece {pieces[4]}, which nobody touched")
