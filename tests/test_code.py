# SPDX-License-Identifier: GPL-2.0
"""The sources themselves: the launcher's unit tests, kernel style, sparse, and nothing in git that a build made."""
import os
import re
import subprocess

import pytest
from conftest import ROOT

LINUX = ROOT / "build/linux"
KERNEL_CODE = [path for pattern in ("host/*.[chS]", "guest/linux/arch/x86/ringlet/*.[chS]",
                                    "guest/linux/arch/x86/include/asm/*.h", "guest/linux/drivers/virtio/*.c",
                                    "guest/drivers/*.c", "include/ringlet/*.h") for path in sorted(ROOT.glob(pattern))]
# What checkpatch says of good code: an out-of-tree module asks for the kernel's version once; ENOSYS is what an unknown
# hypercall is; trace.h follows the form that the tracing headers prescribe.
TOLERATED = ("LINUX_VERSION_CODE should be avoided", "Comparisons should place the constant on the right side",
             "ENOSYS means", "Lines should not end with a '('", "Alignment should match open parenthesis",
             "Prefer using the BIT_ULL macro", "spaces preferred around that '%'",
             "Macro argument reuse 'id'")


def linux():
    path = LINUX if LINUX.exists() else os.environ.get("KERNEL_BUILD", "")
    if not path:
        pytest.fail("no kernel tree in build/linux; use `make test`")
    return path


def test_launcher_units():
    """Guards virtqueues, block requests, the loader, the device page and the ways a guest ends, under ASan and UBSan."""
    result = subprocess.run(["make", "-C", "tests/launcher", "check"], cwd=ROOT, capture_output=True, text=True,
                            timeout=600)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    assert len(re.findall(r"^ok ", result.stdout, re.M)) > 50, result.stdout


@pytest.mark.parametrize("path", KERNEL_CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_kernel_style(path):
    """Guards checkpatch --strict cleanliness of kernel code."""
    result = subprocess.run([f"{linux()}/scripts/checkpatch.pl", "--no-tree", "--strict", "--terse", "-f", path], cwd="/tmp",
                            capture_output=True, text=True)
    lines = [line for line in result.stdout.splitlines()
             if re.search(r": (ERROR|WARNING|CHECK):", line) and not any(words in line for words in TOLERATED)]
    assert not lines


@pytest.mark.parametrize("folder", ["host", "guest/drivers"])
def test_sparse_finds_nothing(folder, tmp_path):
    """Guards address spaces and endianness in our modules."""
    for path in (ROOT / folder).iterdir():
        if path.suffix in (".c", ".h", ".S") or path.name == "Kbuild":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    result = subprocess.run(["make", "-C", str(linux()), f"M={tmp_path}", f"RINGLET_INCLUDE={ROOT}/include", "C=2",
                             "KBUILD_MODPOST_WARN=1", "modules"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "CHECK" in result.stdout
    assert f"{tmp_path}/" not in result.stderr, result.stderr[-3000:]


def test_git_holds_sources_only():
    """Guards against committed objects, images and generated text."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in names if re.search(r"\.(o|ko|a|cmd|img|cpio|gz|xz|pyc|mod)$", name)]
    assert not [name for name in names if (ROOT / name).exists() and (ROOT / name).stat().st_size > 200_000]
