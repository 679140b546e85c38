# SPDX-License-Identifier: GPL-2.0
"""Lab 13. A fix is tried with our attacks (/lab/attack), an attack on modules that lack one protection (/lab/weak-N.ko) and on
the whole one. Broken is a host whose guest knows the secret that /lab/secret.ko has put out of its reach, or that died."""
from grader import Mismatch, expect, test

OURS, YOURS = "/lab/attack", "/guest/tiny/attack"
DATA = 0x00CFF2000000FFFF  # a data segment of ring 3, not yet accessed
CODE, SYSTEM = 8, 1 << 44  # bits of the type, S
DPL = 3 << 45
OTHER_HOST = 448  # MiB: attacks get a host of their own, beside the fixes'


def hide(host):
    """A secret where no guest can read it; its decimal digits."""
    secret = str(host.random.getrandbits(62) | 1 << 62)
    host.check(f"if [ -d /sys/module/secret ]; then rmmod secret; fi; insmod /lab/secret.ko value={secret}")
    return secret


def attack(host, guest, name):
    return host.run(f"ringlet run -k {guest} -m 3 -p {name}")


def still_works(host):
    """Nothing that a guest may do was lost."""
    host.check("ringlet run -k /lab/visitor -m 2 -p hello").has("^done$", "a guest that means no harm does not come through")
    host.check("ringlet run -k /guest/tiny/paging -m 2").has("flush I see 2222", "the guest of chapter 4 does not come through")


def held(host, name):
    """Our attack on the submission's module."""
    secret = hide(host)
    run = attack(host, OURS, name)
    run.lacks(secret, f"the attack {name} has stolen the secret")
    run.no_warnings()
    if run.status not in (0, 4, 5):
        raise Mismatch(f"the attack {name} ended strangely", "exit status 0, 4 or 5", f"{run.status}\n{run.output}")
    still_works(host)


def steals(host, exercise, name):
    """The submission's attack on a module without the protection, then on ours."""
    secret = hide(host)
    for module, broken in (f"/lab/weak-{exercise}.ko", True), ("/modules/ringlet.ko", False):
        host.check(f"insmod {module}")
        run = attack(host, YOURS, name)
        if broken:
            run.has(f"the secret is {secret}$", f"{name}: the protection is missing and the secret was not stolen")
        else:
            run.lacks(secret, f"{name}: stole the secret although the protection is there: the test is wrong, tell us how!")
        host.check("rmmod ringlet")


@test("13.1-idt-held", ours="guest")
def idt_held(host):
    """The guest cannot write the switcher's IDT."""
    held(host, "write-idt")


@test("13.1-gdt-held", ours="guest")
def gdt_held(host):
    """The guest cannot write the page with GDT and TSS."""
    held(host, "write-gdt")


@test("13.2-held", ours="guest")
def call_gate_held(host):
    """LOAD_TLS takes no call gate."""
    held(host, "call-gate")


@test("13.2-kinds", ours="guest")
def other_kinds_held(host):
    """Every entry is looked at: present, S, DPL 3, data."""
    bad = [DATA & ~SYSTEM, DATA & ~DPL, DATA & ~(2 << 45), DATA | CODE << 40, DATA | CODE << 40 | 1 << 53, DATA & ~SYSTEM | 12 << 40]
    for wrong in bad:
        for place in host.random.sample(range(3), 2):
            words = [str(wrong if place == i else host.random.choice([0, DATA])) for i in range(3)]
            run = host.check(f"ringlet run -k /lab/visitor -m 2 -p 'load {' '.join(words)}'")
            run.has("^load_tls: -22$", f"the descriptor {wrong:#x} as entry {12 + place} is not refused")


@test("13.2-good", ours="guest")
def good_descriptors(host):
    """Data segments of ring 3 and empty entries are loaded as they are, and using one does not write the GDT."""
    limits = [host.random.randrange(1 << 20) for _ in range(3)]
    words = [str(0x0040F20000000000 | limit & 0xFFFF | limit >> 16 << 48) for limit in limits]
    run = host.check(f"ringlet run -k /lab/visitor -m 2 -p 'load {' '.join(words)}'")
    expect(run.output, "load_tls: -0\n" + "".join(f"limit {limit}\n" for limit in limits) + "done\n", "three good descriptors")
    run = host.check("ringlet run -k /lab/visitor -m 2 -p 'load 0 0 0'")
    run.has("^load_tls: -0$", "empty entries are refused")


@test("13.3-fault-held", ours="guest")
def over_switcher_held(host):
    """A fault on the switcher's addresses maps nothing there."""
    held(host, "over-switcher")


@test("13.3-fill-held", ours="guest")
def fill_switcher_held(host):
    """HC_FILL on the switcher's addresses maps nothing there."""
    held(host, "fill-switcher")


@test("13.4-kernel-held", ours="guest")
def kernel_flags_held(host):
    """Ring 1 never runs with IOPL."""
    held(host, "return-flags")


@test("13.4-user-held", ours="guest")
def user_flags_held(host):
    """Ring 3 never runs with IOPL."""
    held(host, "user-return-flags")


@test("13.4-kept", ours="guest")
def flags_kept(host):
    """CF PF AF ZF SF DF OF AC and ID are the guest's own."""
    run = host.check("ringlet run -k /lab/visitor -m 2 -p flags")
    run.has("^flags lost: 0$", "a return to ring 1 loses flags that are the guest's")


@test("13.5-held", ours="guest")
def selector_held(host):
    """The switcher never loads a selector whose descriptor has gone."""
    held(host, "selector")


@test("13.5-each", ours="guest")
def selectors_gone(host):
    """Each segment register and each TLS entry is checked by itself."""
    run = host.check("ringlet run -k /lab/visitor -m 2 -p gone")
    expect(run.output, 12 * "selector 0\n" + "done\n", "what is left in each register when its segment has gone")


@test("13.5-kept", ours="guest")
def selectors_kept(host):
    """A good selector is the guest's over any number of exits."""
    run = host.check("ringlet run -k /lab/visitor -m 2 -p segments")
    expect(run.output, "".join(4 * f"selector {selector}\n" for selector in (0x63, 0x6B, 0x73)) + "done\n",
           "what is left in each register when its segment is still there")


@test("13.1-idt-attack", module=False, mem=OTHER_HOST, ours="module")
def idt_attack(host):
    """exploit_idt() works, and works because of this hole."""
    steals(host, 1, "write-idt")


@test("13.1-gdt-attack", module=False, mem=OTHER_HOST, ours="module")
def gdt_attack(host):
    """exploit_gdt() works, and works because of this hole."""
    steals(host, 1, "write-gdt")


@test("13.2-attack", module=False, mem=OTHER_HOST, ours="module")
def call_gate_attack(host):
    """exploit_call_gate() works, and works because of this hole."""
    steals(host, 2, "call-gate")


@test("13.3-fault-attack", module=False, mem=OTHER_HOST, ours="module")
def over_switcher_attack(host):
    """exploit_over_switcher() works, and works because of this hole."""
    steals(host, 3, "over-switcher")


@test("13.3-fill-attack", module=False, mem=OTHER_HOST, ours="module")
def fill_switcher_attack(host):
    """exploit_fill_switcher() works, and works because of this hole."""
    steals(host, 3, "fill-switcher")


@test("13.4-kernel-attack", module=False, mem=OTHER_HOST, ours="module")
def kernel_flags_attack(host):
    """exploit_flags() works, and works because of this hole."""
    steals(host, 4, "return-flags")


@test("13.4-user-attack", module=False, mem=OTHER_HOST, ours="module")
def user_flags_attack(host):
    """exploit_user_flags() works, and works because of this hole."""
    steals(host, 4, "user-return-flags")


@test("13.5-attack", module=False, mem=OTHER_HOST, ours="module")
def selector_attack(host):
    """exploit_selector() kills the host, and only one without the check."""
    host.check("insmod /modules/ringlet.ko")
    attack(host, YOURS, "selector")
    host.check("rmmod ringlet; insmod /lab/weak-5.ko")
    try:
        run = attack(host, YOURS, "selector")
    except Mismatch as death:
        if "the host died" not in death.message:
            raise
    else:
        raise Mismatch("the check is missing and the host survives", "a dead host", run.output)
