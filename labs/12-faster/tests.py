# SPDX-License-Identifier: GPL-2.0
"""Lab 12. Work is counted, never timed: fills and flushes by the module's events, hypercalls and exits by its counters.
/lab/mmu (extra/mmu.c) is a guest that works its page tables and prints what it sees there."""
from grader import Mismatch, expect, test

PAGES = 64
WINDOW = range(0x40000000, 0x40000000 + PAGES * 4096)
LARGE = range(0x40200000, 0x40400000)
UPPER = range(0xFFFF960000000000, 0xFFFF960000001000)
A = sum(range(1000, 1000 + PAGES))
B = sum(range(1000 + PAGES, 1000 + 2 * PAGES))
tiers = {}  # exits of the workload, once counted


def mmu(host, words):
    return host.run(f"ringlet run -k /lab/mmu -m 6 -p '{words}'", events="fill,flush")


def says(run, *lines):
    expect(run.output, "".join(f"{line}\n" for line in lines) + "done\n", "what the guest sees")


def fills(events, place):
    return sum(event.name == "fill" and event["gva"] in place for event in events)


def at_most(count, limit, what):
    if count > limit:
        raise Mismatch(what, f"at most {limit}", str(count))


def behind_flush(run):
    """The events behind the first flush."""
    return run.events[run.events.index(run.order("flush: ")[0]) + 1:]


@test("12.1-kept")
def kept(host):
    """Loads with bit 63 of an address space that is cached drop nothing."""
    rounds = host.random.randrange(3, 8)
    run = mmu(host, f"rounds {rounds}")
    says(run, *[f"a {A}", f"b {B}"] * (rounds + 1))
    at_most(fills(run.events, WINDOW), 2 * PAGES, f"fills for {PAGES} pages in each of two address spaces, {rounds + 1} times")


@test("12.1-changed")
def changed(host):
    """A load without bit 63, another CR3 for the PCID, another PCID for the root, no PCID: nothing stale is seen."""
    run = mmu(host, f"changes {host.random.randrange(1, 7)}")
    says(run, "a at first: 1000", "a, changed and loaded anew: 1071", "b with a's PCID: 1065",
         "a with another PCID for the same root: 1001", "b again: 1065", "without a PCID nothing is kept: 1009")


@test("12.1-upper")
def upper(host):
    """The upper half is shared: a fill serves every root, a flush reaches every root."""
    run = mmu(host, "upper")
    says(run, "kernel page in a: 1003", "kernel page in b: 1003", "changed, in b: 1005", "changed, in a: 1005")
    at_most(fills(run.events, UPPER), 2, "fills of a page of the guest's kernel that two address spaces use, flushed once")


def flush(host):
    """Pages that change, pages whose accessed bit the guest takes away, and the run."""
    forgotten = [group + host.random.randrange(16) for group in range(0, PAGES, 16)]
    new = host.random.sample([page for page in range(PAGES) if page not in forgotten], 6)
    return new, forgotten, mmu(host, f"flush {' '.join(map(str, new))} 64 {' '.join(map(str, forgotten))} 64")


@test("12.2-resync")
def resync(host):
    """After FLUSH_USER a fault comes only where the guest's entry is not marked as used."""
    _, forgotten, run = flush(host)
    at_most(fills(behind_flush(run), WINDOW), len(forgotten), f"fills behind a flush, with {len(forgotten)} pages unused since")


@test("12.2-changed")
def resync_is_right(host):
    """After FLUSH_USER new pages are seen, clean pages are watched again, pages that are gone fault."""
    new, _, run = flush(host)
    says(run, f"before {A}", f"after {A + len(new) * PAGES}", f"used {PAGES}")
    run = mmu(host, f"dirty {host.random.randrange(PAGES)}")
    run.has("^dirty again: 1$", "a page that the guest has marked clean was written and is still clean")
    run.lacks("unmapped, yet", "a page that the guest has unmapped can still be read")
    run.has("guest killed: exception 14", "the guest gets its page fault")


@test("12.3-around")
def around(host):
    """A fault fills the 16 entries of its group."""
    run = mmu(host, f"around {host.random.randrange(16)}")
    run.has(f"^sum {A}$", "the pages are not what the guest's tables say")
    before = run.events[:fills_of_first_space(run)]
    expect(fills(before, WINDOW), PAGES // 16, f"fills for {PAGES} pages that the guest has used before")


def fills_of_first_space(run):
    """How many events there are until a page of the second space is filled."""
    second = [at for at, event in enumerate(run.events) if event.name == "fill" and event["gva"] in WINDOW
              and event["gpa"] >= 0x200000 + PAGES * 4096]
    return second[0] if second else len(run.events)


@test("12.3-bits")
def bits(host):
    """What the guest has not used is not filled, so its first use still sets A; what is clean is filled read-only."""
    run = mmu(host, f"around {host.random.randrange(16)}")
    says(run, f"sum {A}", "accessed: 34", "accessed when all have been touched: 64", "dirty: 32")


@test("12.4-large")
def large(host):
    """One fault fills all 512 entries of a large page; the first write is another, for the dirty bit."""
    run = mmu(host, f"large {host.random.randrange(1, 512)}")
    at = run.events.index(run.order("flush: ")[0])
    at_most(fills(run.events[:at], LARGE), 2, "fills for 512 reads and a write in one large page")


@test("12.4-whole")
def large_is_right(host):
    """All 512 pages are the right ones, the dirty bit comes with the write, INVLPG of one address drops them all."""
    run = mmu(host, f"large {host.random.randrange(1, 512)}")
    says(run, "seen: 512", "dirty: 0", "dirty after a write: 1", "elsewhere after INVLPG of one address: 42")


@test("12.5-fast")
def fast(host):
    """LOAD_CR3 with bit 63 for a cached root never leaves the switcher."""
    rounds = host.random.randrange(100, 200)
    before = host.counters()["hypercall_load_cr3"]
    mmu(host, f"speed {rounds}")
    count = host.counters()["hypercall_load_cr3"] - before
    at_most(count, 8, f"LOAD_CR3 that came to the host, of {2 * rounds} with a cached root and 6 without")
    if not count:
        raise Mismatch("a load that the switcher cannot know was not seen by the host", "at least one", "none")


@test("12.5-right")
def fast_is_right(host):
    """The right root, no other register, and the host knows afterwards which root the guest is on."""
    says(mmu(host, f"speed {host.random.randrange(20, 90)}"), "wrong: 0", "registers changed: 0", "wrong behind a load: 0",
         "wrong root: 0")


def workload(host):
    """Exits that memory costs in a boot of Linux and 40 programs."""
    if not tiers:
        before = host.counters()
        run = host.in_guest("i=0; while [ $i -lt 40 ]; do /bin/busybox true; i=$((i + 1)); done", events="cr3")
        expect(run.status, 0, "exit status of the work in the guest")
        after = host.counters()
        tiers["exits"] = sum(after[name] - before[name] for name in after if name == "exit_page_fault"
                             or name.startswith(("hypercall_load_cr3", "hypercall_flush", "hypercall_fill")))
    return tiers["exits"]


@test("12.6-first")
def first_tier(host):
    """The whole: what a Linux guest needs."""
    at_most(workload(host), 60000, "exits for memory")


@test("12.6-second")
def second_tier(host):
    """The same, with all of it in place."""
    at_most(workload(host), 20000, "exits for memory")


@test("12.6-third")
def third_tier(host):
    """As few as ours."""
    at_most(workload(host), 12500, "exits for memory")
