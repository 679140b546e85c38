# SPDX-License-Identifier: GPL-2.0
"""The commands that a newcomer types: what they return, what they say when something is wrong."""
import os
import pty
import shutil
import subprocess
import termios
import time

import pexpect
import pytest
from conftest import ROOT


def test_output_and_status_of_a_host_command_pass_through(make):
    ended = make("host", CMD="printf 'a\\n b'; printf c >&2; exit 7")
    assert ended.stdout == "a\n bc"
    assert "Error 7" in ended.stderr


def test_output_looking_like_the_protocol_is_only_output(make):
    text = "\\n0123456789abcdef exit 0 \\n"
    ended = make("host", CMD=f"printf '{text}'; exit 9")
    assert ended.stdout == text.replace("\\n", "\n")
    assert "Error 9" in ended.stderr


def test_binary_output_arrives_as_it_is(make, tmp_path):
    (tmp_path / "bytes").write_bytes(bytes(range(256)) * 512)
    command = [ROOT / "tools/boot", "host", "cat bytes"]
    ended = subprocess.run(command, env={**os.environ, "FILES": f"{tmp_path}/bytes"}, cwd=ROOT, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, timeout=300, check=True)
    assert ended.stdout == (tmp_path / "bytes").read_bytes()


def test_files_and_folders_are_in_the_working_directory(make, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/inner").write_text("inner\n")
    (tmp_path / "script").write_text("#!/bin/sh\necho script\n")
    (tmp_path / "script").chmod(0o755)
    for where in "host", "guest":
        ended = make(where, CMD="./script && cat folder/inner", FILES=f"{tmp_path}/script {tmp_path}/folder")
        assert (ended.returncode, ended.stdout) == (0, "script\ninner\n"), ended.stderr


def test_cpus_and_memory_are_what_was_asked(make):
    ended = make("host", CMD="nproc; sed -n 's/MemTotal: *//p' /proc/meminfo", CPUS="2", MEM="900")
    cpus, kib = ended.stdout.split()[:2]
    assert cpus == "2" and 750 * 1024 < int(kib) < 900 * 1024


def test_output_and_status_of_a_guest_command_pass_through(make):
    ended = make("guest", CMD="printf 'a\\n b'; nproc; exit 5", CPUS="2")
    assert ended.stdout == "a\n b2\n", ended.stderr
    assert "Error 5" in ended.stderr


def test_a_panic_of_the_guest_is_not_taken_for_the_command_failing(make):
    ended = make("guest", CMD="echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger")
    assert "Error 125" in ended.stderr and "without a status" in ended.stderr


def test_a_panic_of_the_host_is_not_taken_for_the_command_failing(make):
    ended = make("host", CMD="echo c > /proc/sysrq-trigger")
    assert "Error 125" in ended.stderr and "the machine went down" in ended.stderr
    assert "sysrq triggered crash" in (ROOT / "build/log/host-console.log").read_text()


def test_a_command_that_never_ends_is_ended(make):
    begin = time.monotonic()
    ended = make("host", CMD="sleep 1000", TIMEOUT="5")
    assert "Error 125" in ended.stderr and "did not end within 5 s" in ended.stderr
    assert time.monotonic() - begin < 60


def test_a_missing_file_is_named(make):
    ended = make("host", CMD="true", FILES="/nowhere/at-all")
    assert ended.returncode and "/nowhere/at-all does not exist" in ended.stderr


@pytest.mark.parametrize("variable", ["CPUS=zero", "MEM=1", "CPUS=99"])
def test_bad_numbers_are_named(make, variable):
    name, value = variable.split("=")
    ended = make("host", CMD="true", **{name: value})
    assert ended.returncode and f"{variable}: not a number from" in ended.stderr


def test_no_command_is_an_error(make):
    assert "CMD=" in make("guest").stderr


def test_nothing_changed_means_seconds(make):
    assert make("all").returncode == 0
    begin = time.monotonic()
    ended = make("all")
    assert ended.returncode == 0 and ended.stderr == ""
    assert time.monotonic() - begin < 5


def test_the_tour_happens_without_a_terminal(make):
    ended = make("run")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for sign in "3 packets received", "file: OK", "exit_hypercall", "== tour: all of it happened":
        assert sign in ended.stdout


def test_boot_and_stress_in_bochs(make):
    """Bochs keeps global TLB entries across CR3 loads, which QEMU's TCG does not (red: leave CR4.PGE on in guest mode)."""
    ended = make("guest", CMD="stress", EMULATOR="bochs", MEM="128")
    assert ended.returncode == 0 and " 0 failed" in ended.stdout, ended.stdout + ended.stderr


@pytest.fixture
def terminal():
    """`make run` on a terminal of its own, and the terminal's settings from before."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(["make", "run"], cwd=ROOT, stdin=slave, stdout=slave, stderr=slave,
                               env={**os.environ, "TERM": "xterm"}, start_new_session=True)
    screen = pexpect.fdpexpect.fdspawn(master, timeout=60, encoding="utf-8", codec_errors="replace")
    yield process, screen, slave, before
    if process.poll() is None:
        process.terminate()
        process.wait(20)
    os.close(slave)


def restored(slave, before):
    return termios.tcgetattr(slave) == before


def test_ctrl_a_x_leaves_and_the_terminal_is_restored(terminal):
    process, screen, slave, before = terminal
    begin = time.monotonic()
    screen.expect("guest:.*# ")
    assert time.monotonic() - begin < 15
    screen.send("echo $((6 * 7))\r")
    screen.expect("\n42\r")
    screen.send("\x01x")
    process.wait(20)
    assert process.returncode == 0 and restored(slave, before)


def test_ctrl_a_x_leaves_while_the_host_boots(terminal):
    process, screen, slave, before = terminal
    screen.expect("Booting the host")
    time.sleep(0.5)
    screen.send("\x01x")
    process.wait(20)
    assert restored(slave, before)


def test_a_signal_restores_the_terminal(terminal):
    process, screen, slave, before = terminal
    screen.expect("guest:.*# ")
    child = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()[0]
    os.kill(int(child), 15)
    process.wait(20)
    assert restored(slave, before)


def test_doctor_is_content_and_names_what_is_missing(make, tmp_path):
    assert make("doctor").returncode == 0
    for name in "python3", "gcc", "make":
        (tmp_path / name).symlink_to(shutil.which(name))
    ended = subprocess.run(["/usr/bin/python3", ROOT / "tools/doctor"], env={"PATH": str(tmp_path)}, capture_output=True,
                           text=True)
    assert ended.returncode == 1 and "qemu-system-x86_64 is missing" in ended.stdout and "what to do" in ended.stdout


def test_packages_without_apt_are_named(tmp_path):
    """A PATH with dpkg-query that knows nothing, and neither apt-get nor sudo."""
    for name in "id", "cat", "grep", "sh", "sed":
        (tmp_path / name).symlink_to(shutil.which(name))
    (tmp_path / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "dpkg-query").chmod(0o755)
    ended = subprocess.run([ROOT / "tools/packages", "build"], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert ended.returncode == 1 and "qemu-system-x86 (is the machine" in ended.stderr
    assert "as root, install" in ended.stderr and "flex" in ended.stderr


@pytest.fixture
def checkout(tmp_path):
    """A second checkout, without anything built."""
    shutil.copytree(ROOT, tmp_path / "second", ignore=shutil.ignore_patterns("build", ".git"))
    return tmp_path / "second"


def small_tree(folder, sublevel="1", patchlevel="12"):
    (folder / "arch/x86").mkdir(parents=True)
    (folder / "Makefile").write_text(f"VERSION = 6\nPATCHLEVEL = {patchlevel}\nSUBLEVEL = {sublevel}\n")
    return folder


def prepare(checkout, **variables):
    return subprocess.run([checkout / "tools/kernel", "prepare"], env={**os.environ, **variables}, capture_output=True, text=True)


def test_a_kernel_source_that_is_none_is_refused(checkout, tmp_path):
    ended = prepare(checkout, KERNEL_SRC=str(tmp_path))
    assert ended.returncode and "not a kernel tree" in ended.stderr and "6.12.y" in ended.stderr


def test_another_kernel_version_is_refused(checkout, tmp_path):
    ended = prepare(checkout, KERNEL_SRC=str(small_tree(tmp_path / "tree", patchlevel="1")))
    assert ended.returncode and "Linux 6.1.1, not 6.12.y" in ended.stderr


def test_a_patch_that_does_not_apply_is_named(checkout, tmp_path):
    ended = prepare(checkout, KERNEL_SRC=str(small_tree(tmp_path / "tree")))
    assert ended.returncode and "guest/linux/patches/0001-" in ended.stderr and "does not apply to Linux 6.12.1" in ended.stderr


def test_a_hunk_that_does_not_apply_is_named(checkout):
    """A patch of ours for a file of ours: its second hunk has a context that is not there."""
    tree = small_tree(checkout / "tree")
    (tree / "file").write_text("".join(f"line {number}\n" for number in range(40)))
    for patch in (checkout / "guest/linux/patches").glob("*.patch"):
        patch.unlink()
    (checkout / "guest/linux/patches/0001-mine.patch").write_text(
        "--- a/file\n+++ b/file\n@@ -1,3 +1,3 @@\n line 0\n-line 1\n+changed\n line 2\n"
        "@@ -20,3 +20,3 @@\n line 19\n-not there\n+changed\n line 21\n")
    ended = prepare(checkout, KERNEL_SRC=str(tree))
    assert ended.returncode and "0001-mine.patch does not apply" in ended.stderr and "Hunk #2 FAILED" in ended.stderr
    assert "line 1\n" in (checkout / "build/linux/file").read_text()


def test_a_tarball_without_a_pinned_checksum_is_not_fetched(checkout):
    environment = {key: value for key, value in os.environ.items() if key != "KERNEL_TARBALL_SHA256"}
    ended = subprocess.run([checkout / "tools/kernel", "fetch", "99999"], capture_output=True, text=True, env=environment)
    assert ended.returncode and "KERNEL_TARBALL_SHA256" in ended.stderr


def test_a_failed_step_names_command_log_and_cause(checkout):
    (checkout / "launcher/main.c").write_text("int main(void) { return nonsense; }\n")
    (checkout / "build").mkdir()
    (checkout / "build/packages-build").touch()
    ended = subprocess.run(["make", "build/launcher/ringlet"], cwd=checkout, capture_output=True, text=True)
    assert ended.returncode and "FAILED" in ended.stderr
    for sign in "tried: make -C launcher", "log: ", "likely cause: the compiler stopped at", "nonsense":
        assert sign in ended.stderr


def test_two_checkouts_run_at_once(checkout, make):
    """The second one has copies of what was built; both boot at the same time and leave nothing behind."""
    (checkout / "build").mkdir()
    shutil.copytree(ROOT / "build/host-kit", checkout / "build/host-kit")
    command = ["tools/boot", "host", "tap-up && ip addr show tap0 | grep -c 10.0.0.1 && sleep 2"]
    both = [subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
            for folder in (ROOT, checkout)]
    assert [(process.communicate(timeout=120)[0], process.returncode) for process in both] == [("1\n", 0)] * 2
