# SPDX-License-Identifier: GPL-2.0
"""The whole system: guests on all hosts, what they compute, what they leave behind. Each test says what it guards; the
one-line break that turns it red is named where it is not plain."""
import re
import threading

import pytest
from conftest import KERNELS, boot_host

GUEST = "ringlet run -k /guest/vmlinux -i /guest/initrd -m 128"
PLAIN = f"{GUEST} -d /guest/disk.img,ro -n none"


def stress_lines(output):
    """What the stress program says; the rest of the console does not count."""
    return [line.strip() for line in output.splitlines() if line.startswith(("ok ", "FAIL ", "stress:"))]


def assert_same_stress(host, **guest):
    """Red: let hc_flush_page() do nothing."""
    on_host = stress_lines(host.check("stress", 300))
    result = host.in_guest("stress", timeout=600, **guest)
    assert result.status == 0, result.output[-3000:]
    assert stress_lines(result.output) == on_host
    assert on_host[-1].startswith("stress:") and len(on_host) > 20


def test_boots_on_every_host_with_1_2_4_vcpus(any_host):
    """Guards the module against all three kernels, and bring-up of secondary vCPUs (red: drop HC_START_VCPU's row)."""
    for cpus in 1, 2, 4:
        result = any_host.in_guest("nproc; grep -c ^processor /proc/cpuinfo; uname -r; dmesg | grep -c WARNING",
                                   cpus=cpus)
        words = result.output.split()
        assert words[-4:-2] == [str(cpus), str(cpus)], result
        assert words[-1] == "0", result


def test_stress_is_the_same_as_on_the_host(any_host):
    """Guards signals, faults, single-step, COW, TLS, AVX, timers, threads, fork storms: on each host, with 2 vCPUs."""
    assert_same_stress(any_host, cpus=2)


def test_stress_on_one_vcpu(host):
    """Guards the uniprocessor case."""
    assert_same_stress(host, cpus=1)


def test_stress_on_an_overcommitted_host(host):
    """Guards the FPU state of vCPUs that take turns on one CPU (red: drop the TIF_NEED_FPU_LOAD test of enter_guest()).
    Without rseq, as the C library's sends RUN back to the launcher at each preemption and hides that."""
    assert_same_stress(host, cpus=4, prefix="GLIBC_TUNABLES=glibc.pthread.rseq=0")


def test_nmi_storm_while_a_guest_works():
    """Guards the switcher's NMI stub, IST stacks and resume (red: let switcher_nmi jump to .Lexit always)."""
    with boot_host(cpus=2, mem=1024) as host:
        stop = threading.Event()

        def storm():
            while not stop.wait(0.002):
                host.monitor("nmi")

        thread = threading.Thread(target=storm)
        thread.start()
        try:
            result = host.in_guest("stress", timeout=600, cpus=2)
        finally:
            stop.set()
            thread.join()
        assert result.status == 0, result.output[-3000:]
        assert host.exits()["exit_nmi"] > 100
        host.check("true")


def test_disk_survives_a_reboot_of_the_guest(host):
    """Guards block writes, flush, and that a reboot boots again (red: answer BLK_T_FLUSH without fdatasync; or let the
    launcher end on SHUTDOWN_REBOOT)."""
    host.check("cp /guest/disk.img /tmp/reboot.img")
    result = host.run("""DISK=/tmp/reboot.img in-guest '
        if [ -e /root/sums ]; then cd /root && sha256sum -c sums && dmesg | grep -c "EXT4-fs error"; exit 0; fi
        for i in 1 2 3 4 5 6 7 8; do head -c 700000 /dev/urandom > /root/f$i; done
        cd /root && sha256sum f* > sums && sync && busybox reboot -f; sleep 60'""", 120)
    assert result.status == 0, result
    assert result.output.count(": OK") == 8, result
    assert result.output.split()[-1] == "0", result
    host.check("rm /tmp/reboot.img")


@pytest.mark.parametrize("drivers", ["stock", "ring"])
def test_tcp_both_ways_with_checksums(host, drivers):
    """Guards receive and transmit of virtio-net with offloads (red: forget VIRTIO_NET_HDR_F_NEEDS_CSUM either way), and of
    ringnet without (red: give the device back the buffer that went up)."""
    host.check("tap-up; mkdir -p /tmp/www; head -c 3000000 /dev/urandom > /tmp/www/down; rm -f /tmp/open /tmp/up*; "
               "netstat -ltn | grep -q :8080 || httpd -p 10.0.0.1:8080 -h /tmp/www")
    expected = host.check("sha256sum < /tmp/www/down").split()[0]
    # Its stdin must not end, or nc tells the guest that nothing more comes and the guest goes before all is sent.
    host.check("mkfifo /tmp/open; (nc -l -p 5000 <> /tmp/open > /tmp/up; echo done > /tmp/up.done) >/dev/null 2>&1 &")
    result = host.in_guest("wget -q -O /tmp/f http://10.0.0.1:8080/down && sha256sum < /tmp/f && "
                           "head -c 3000000 /dev/urandom > /tmp/u && sha256sum < /tmp/u && nc 10.0.0.1 5000 < /tmp/u",
                           cpus=2, prefix=f"DRIVERS={drivers}")
    assert result.status == 0, result
    sums = [word for word in result.output.split() if len(word) == 64]
    assert sums[0] == expected
    host.check("for i in 1 2 3 4 5 6 7 8 9; do [ -e /tmp/up.done ] && break; sleep 1; done; [ -e /tmp/up.done ]")
    assert sums[1] in host.check("sha256sum < /tmp/up")


def test_modules_load_and_unload_in_the_guest(host):
    """Guards text_poke, vmalloc faults and the transport's remove path (red: skip free_irq in del_vq)."""
    result = host.in_guest("for i in 1 2 3; do rmmod virtio_net && insmod /lib/modules/virtio_net.ko || exit 1; done; "
                           "ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up; ping -c 2 10.0.0.1 && "
                           "insmod /lib/modules/loop.ko && rmmod loop && ! dmesg | grep -E 'WARNING|BUG'")
    assert result.status == 0, result


def test_the_tour_with_the_kits_own_drivers(host):
    """Guards DRIVERS=ring from the command line to the status disk (red: load order-stock)."""
    result = host.run("DRIVERS=ring tour", 120)
    assert result.status == 0 and "root on /dev/rba" in result.output, result
    result = host.run("DRIVERS=bell guest")
    assert result.status == 2 and "DRIVERS=bell" in result.output, result


def test_ringblk_moves_the_right_bytes(host):
    """Guards ringblk's requests, three writers at a time on 2 vCPUs, against the image itself (red: let fill_header()
    leave out the sector), flushes (red: drop BLK_FEAT_WRITE_CACHE) and the read-only disk (red: drop set_disk_ro())."""
    # An odd number of sectors, so that the kernel reads and writes by the sector.
    host.check("head -c $((49153 * 512)) /dev/urandom > /tmp/a.img; cp /tmp/a.img /tmp/b.img")
    result = host.in_guest("""set -e
        blockdev --getro /dev/rbd
        ! echo no > /dev/rbd
        for at in 0 4 8; do dd if=/dev/rbd of=/dev/rbc bs=512 count=8192 skip=$((at * 2048)) seek=$((at * 2048 + 24576)) & done
        wait
        dd if=/dev/rbd of=/dev/rbc bs=1M skip=8 seek=4 count=2
        dd if=/dev/rbd of=/dev/rbc bs=512 skip=2 seek=7 count=3 conv=fsync
        echo flushes $(awk '{print $16}' /sys/block/rbc/stat)
        echo 3 > /proc/sys/vm/drop_caches
        sha256sum /dev/rbc /dev/rbd
        dmesg | grep -E 'I/O error|WARNING|BUG' || true""", cpus=2, prefix="DRIVERS=ring",
                           options="-d /tmp/a.img -d /tmp/b.img,ro")
    assert result.status == 0 and "Operation not permitted" in result.output, result
    host.check("""cp /tmp/b.img /tmp/c.img
        dd if=/tmp/b.img of=/tmp/c.img bs=1M seek=12 count=12 conv=notrunc
        dd if=/tmp/b.img of=/tmp/c.img bs=1M skip=8 seek=4 count=2 conv=notrunc
        dd if=/tmp/b.img of=/tmp/c.img bs=512 skip=2 seek=7 count=3 conv=notrunc""")
    lines = result.output.split("\n")
    assert lines[0] == "1" and "flushes 0" not in lines, result
    assert "I/O error" not in result.output and "WARNING" not in result.output, result
    for device, image in ("/dev/rbc", "/tmp/c.img"), ("/dev/rbd", "/tmp/b.img"):
        assert f"{host.check(f'sha256sum < {image}').split()[0]}  {device}" in lines, (device, result)
    host.check("cmp /tmp/a.img /tmp/c.img; rm /tmp/[abc].img")


def test_the_kits_drivers_come_and_go(host):
    """Guards removal, idle and under load, beside the kernel's own drivers (red: let ringblk_remove() reset the device
    before del_gendisk(), ringnet_remove() skip the reset, or ringnet_open() not look at what came before)."""
    host.check("truncate -s 8M /tmp/go.img; tap-up; (ping -i 0.1 10.0.0.2 >/dev/null 2>&1 & echo $! > /tmp/ping.pid)")
    result = host.in_guest("""set -e
        device=$(basename $(readlink /sys/block/vdc/device)) ring=/sys/bus/virtio/drivers/ringblk
        echo $device > /sys/bus/virtio/drivers/virtio_blk/unbind
        for i in 1 2 3; do
            insmod /lib/modules/ringblk.ko
            for at in 0 1 2 3; do
                (while dd if=/dev/rba of=/dev/null bs=4k && blockdev --flushbufs /dev/rba; do :; done; echo reader ends) 2>&- &
            done
            sleep 0.2
            echo $device > $ring/unbind
            wait
            echo $device > $ring/bind
            dd if=/dev/rba of=/dev/null bs=1M 2>/dev/null
            rmmod ringblk
        done
        rmmod virtio_net
        for i in 1 2 3; do
            insmod /lib/modules/ringnet.ko
            ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up
            (while ping -c 1 -W 1 -s 1400 10.0.0.1 >/dev/null 2>&1; do :; done; echo pinger ends) &
            ping -c 2 -i 0.2 10.0.0.1
            ip link set eth0 down; sleep 0.3; ip link set eth0 up
            cd /sys/class/net/eth0/statistics; before=$(cat rx_packets)
            sleep 0.4; [ $(cat rx_packets) -gt $before ]; cd /
            ping -c 2 -i 0.2 10.0.0.1
            rmmod ringnet
        done
        wait
        insmod /lib/modules/virtio_net.ko
        ! dmesg | grep -E 'WARNING|BUG|blocked for'""", cpus=2, options="-d /tmp/go.img")
    host.check("kill $(cat /tmp/ping.pid)")
    assert result.status == 0, result
    assert (result.output.count("reader ends"), result.output.count("pinger ends")) == (12, 3), result


def test_ringnet_waits_for_room_in_the_ring(host):
    """Guards the stopped and woken transmit queue: 492 frames against a peer that stands still, then all of them out (red:
    never wake it; or never stop it)."""
    host.check("tap-up; mkfifo /tmp/hold; (nc -l -p 5001 </dev/null; kill -CONT $(cat /tmp/peer.pid)) >/dev/null 2>&1 &")
    host.check(f"({GUEST} -d /guest/disk.img,ro -n socket=/tmp/peer <> /tmp/hold >/dev/null 2>&1 & echo $! > /tmp/peer.pid)\n"
               "until [ -e /tmp/peer ]; do sleep 0.1; done; kill -STOP $(cat /tmp/peer.pid)")
    result = host.in_guest("""ip addr add 10.1.0.2/24 dev eth1; ip link set eth1 up; arp -s 10.1.0.1 02:00:00:00:00:01
        for i in $(seq 12); do ping -c 1 -W 1 -s 60000 10.1.0.1 >/dev/null & done; wait
        cd /sys/class/net/eth1/statistics
        echo $(cat tx_packets) at first; nc 10.0.0.1 5001 </dev/null
        for i in $(seq 100); do [ $(cat tx_packets) -ge 492 ] && break; sleep 0.1; done
        echo $(cat tx_packets) at last, $(cat tx_dropped) dropped""", prefix="DRIVERS=ring DISK=/guest/disk.img,ro",
                           options="-n socket=/tmp/peer")
    host.check("kill -9 $(cat /tmp/peer.pid); rm /tmp/hold")
    assert result.status == 0, result
    first, last = re.findall(r"^(\d+) at", result.output, re.M)
    assert 256 <= int(first) < 492 and f"{last} at last, 0 dropped" in result.output and int(last) >= 492, result


def test_ringnet_hears_that_the_link_is_down(host):
    """Guards the interrupt for a changed configuration (red: drop schedule_work() from ringnet_config_changed())."""
    host.check("tap-up; (until ping -c 1 -W 1 10.0.0.2; do :; done; ip link del tap0) >/dev/null 2>&1 &")
    result = host.in_guest("[ $(cat /sys/class/net/eth0/carrier) = 1 ] || exit 2; for i in $(seq 100); do "
                           "[ $(cat /sys/class/net/eth0/carrier) = 0 ] && exit 0; sleep 0.1; done; exit 1",
                           prefix="DRIVERS=ring")
    assert result.status == 0, result


def free_pages(host):
    """Free pages, those on per-CPU lists included, and pins not given back."""
    return [int(word) for word in host.check("""sync; echo 3 > /proc/sys/vm/drop_caches; sleep 1
        awk '/nr_free_pages/ {free += $2} /^ *count:/ {free += $2} END {print free}' /proc/zoneinfo
        awk '/nr_foll_pin_acquired/ {n += $2} /nr_foll_pin_released/ {n -= $2} END {print n}' /proc/vmstat""").split()]


def test_ten_boots_leave_the_hosts_memory_as_it_was(host):
    """Guards against leaks of pages and pins (red: drop shadow_free() from vcpu_destroy(), or unpin in range_free())."""
    def boots(count):
        for _ in range(count):
            assert host.in_guest("true", cpus=2).status == 0
        return free_pages(host)

    boots(2)
    free, pins = boots(1)
    free_after, pins_after = boots(10)
    assert (pins, pins_after) == (0, 0)
    assert free - free_after < 300, "more than 30 pages a boot are gone"


def test_kill_at_any_moment_then_unload():
    """Guards teardown: kill -9 of a launcher between any two steps leaks nothing and the module can go."""
    with boot_host(cpus=2, mem=1024) as host:
        def kills(count):
            for i in range(count):
                host.check(f"({PLAIN} -c {1 + i % 4} </dev/null >/dev/null 2>&1 & sleep 0.{(i * 37) % 10}{i % 10}; "
                           "kill -9 $!; wait $!; true)")
            return free_pages(host)

        kills(4)
        free, pins = kills(4)
        free_after, pins_after = kills(20)
        assert (pins, pins_after) == (0, 0)
        assert free - free_after < 600
        assert host.check("cat /sys/module/ringlet/refcnt").strip() == "0"
        host.check("rmmod ringlet && insmod /modules/ringlet.ko && rmmod ringlet")
        assert not host.trouble()


@pytest.mark.parametrize("command, code, why", [
    ("poweroff -f", 0, ""),
    ("echo c > /proc/sysrq-trigger", 5, "guest panicked"),
    ("reboot -f", 3, "guest rebooted"),
])
def test_exit_codes(host, command, code, why):
    """Guards the launcher's documented exit codes for how a guest ends."""
    host.check(f"cp /guest/initrd /tmp/i; mkdir -p /tmp/j/job; echo '{command}; sleep 30' > /tmp/j/job/.command; "
               "(cd /tmp/j; find job | cpio -o -H newc 2>/dev/null) >> /tmp/i")
    result = host.run(f"ringlet run -k /guest/vmlinux -i /tmp/i -m 128 -d /guest/disk.img -n none --no-reboot "
                      "-p 'console=hvc0 root=/dev/vda quiet'", 60)
    assert result.status == code, result
    assert why in result.output


@pytest.mark.parametrize("options, code, words", [
    ("-k /nowhere", 2, ["/nowhere", "No such file"]),
    ("-k /etc/profile-of-nobody", 2, ["/etc/profile-of-nobody"]),
    ("-k /init", 2, ["/init", "ELF"]),
    ("-k /bin/busybox", 2, ["/bin/busybox", "not a Ringlet"]),
    ("-k /guest/vmlinux -m 8", 2, ["/guest/vmlinux", "-m"]),
    ("-k /guest/vmlinux -m 3000", 2, ["-m 3000"]),
    ("-k /guest/vmlinux -m x", 1, ["-m"]),
    ("-k /guest/vmlinux -d /nowhere.img", 2, ["/nowhere.img"]),
    ("-k /guest/vmlinux -n tap=nothere", 2, ["nothere"]),
    ("-k /guest/vmlinux --frobnicate", 1, ["frobnicate"]),
])
def test_bad_input_gets_a_sentence(host, options, code, words):
    """Guards the messages that a student meets: they name the file or option, and the exit code is the documented one."""
    result = host.run(f"ringlet run {options}", 60)
    assert result.status == code, result
    assert all(word in result.output for word in words), result


def test_a_busy_disk_is_refused(host):
    """Guards two launchers against writing one image."""
    host.check("cp /guest/disk.img /tmp/busy.img; mkfifo /tmp/in")
    host.check(f"({GUEST} -d /tmp/busy.img -n none < /tmp/in >/dev/null 2>&1 & echo $! > /tmp/pid); sleep 1; "
               "exec 9>/tmp/in; sleep 1")
    result = host.run(f"{GUEST} -d /tmp/busy.img -n none")
    host.check("kill -9 $(cat /tmp/pid); rm /tmp/busy.img /tmp/in")
    assert result.status == 2 and "/tmp/busy.img" in result.output, result


def test_a_module_for_another_kernel_is_refused_by_name():
    """Guards the message when ringlet.ko and the kernel do not fit."""
    with boot_host(kernel="kit", files=["build/host-6.1/ringlet.ko"]) as host:
        result = host.run("insmod /job/ringlet.ko")
        assert result.status != 0
        log = host.check("dmesg")
        assert "version magic" in log or "module ringlet: .gnu.linkonce.this_module section size" in log


@pytest.mark.parametrize("model, kernel, why", [
    ("max,la57=on", "6.12-debian", "5-level page tables"),
    ("max,la57=off,-fsgsbase", "kit", "FSGSBASE"),
    ("max,la57=off,-nx", "kit", "NX"),
])
def test_unfit_hosts_are_refused_with_one_line(model, kernel, why):
    """Guards host/checks.c: each refusal is one line that names the cause."""
    with boot_host(kernel=kernel, model=model) as host:
        lines = [line for line in host.check("dmesg").splitlines() if "ringlet: not on this host" in line]
        assert lines and all(why in line for line in lines)
        assert host.run("[ -e /dev/ringlet ]").status != 0


def test_every_tracepoint_and_counter_moves(host):
    """Guards the interface that graders and benchmarks read."""
    events = host.check("ls /sys/kernel/tracing/events/ringlet").split()
    names = [name for name in events if name.startswith("ringlet_")]
    assert sorted(names) == [f"ringlet_{name}" for name in sorted(
        "cr3 exit fill flush hypercall inject interrupt notify".split())]
    host.check("echo 1 > /sys/kernel/tracing/events/ringlet/enable; echo 20000 > /sys/kernel/tracing/buffer_size_kb")
    before = host.exits()
    assert host.in_guest("true").status == 0
    host.check("echo 0 > /sys/kernel/tracing/events/ringlet/enable")
    for name in names:
        assert int(host.check(f"grep -c ' {name}:' /sys/kernel/tracing/trace || true")) > 0, name
    after = host.exits()
    for name in "entries fills flushes injections notifies exit_interrupt exit_page_fault exit_hypercall".split():
        assert after[name] > before[name], name


def test_all_kernels_are_tested():
    """A host that is not built must not drop out of the list in silence."""
    assert KERNELS == ["kit", "6.1", "6.12-debian"]
