# SPDX-License-Identifier: GPL-2.0
"""Linux's own virtio_ring.c, compiled outside of a kernel, as the driver of the launcher's queues (tests/ring): under ASan and UBSan with
requests of all shapes, and in every way in which the two can come between each other's waking and sleeping."""
import shutil
import subprocess

import pytest

from conftest import ROOT
from chapter import linux


def build(out, launcher=ROOT / "launcher"):
    """run(program, words...)"""
    made = subprocess.run(["make", "-C", ROOT / "tests/ring", f"O={out}", f"LINUX={linux()}", f"L={launcher}"], capture_output=True, text=True,
                          timeout=300)
    assert made.returncode == 0, made.stdout[-1000:] + made.stderr[-3000:]
    return lambda program, *words: subprocess.run([out / program, *(str(int(word)) for word in words)], capture_output=True, text=True, timeout=400)


@pytest.fixture(scope="module")
def programs():
    return build(ROOT / "build/tests/ring")


@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
@pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event-idx"])
@pytest.mark.parametrize("size", [1, 2, 4, 16, 256])
def test_each_request_comes_back_once(programs, size, event_idx, indirect):
    """Guards the queue against the driver it is made for: data, lengths, order of publishing, and no lost wake-up on either side.
    Red: no second look in kicks_on(); a used length that is one too large; used_event compared with one more."""
    result = programs("ring", size, event_idx, indirect, 4000, size * 4 + event_idx * 2 + indirect)
    assert result.returncode == 0, result.stdout[-500:] + result.stderr[-3000:]
    assert result.stdout.startswith(f"4000 requests, a ring of {size}")


@pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event-idx"])
def test_indexes_wrap(programs, event_idx):
    """Guards the 16-bit arithmetic: more requests than an index has values. Red: `unsigned int` for last_avail."""
    result = programs("ring", 8, event_idx, True, 140_000, 3)
    assert result.returncode == 0, result.stdout[-500:] + result.stderr[-3000:]


@pytest.mark.parametrize("delayed", [False, True], ids=["each", "delayed"])
@pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event-idx"])
@pytest.mark.parametrize("size, requests", [(1, 2), (2, 2), (4, 2)])
def test_no_wakeup_is_lost(programs, size, requests, event_idx, delayed):
    """Guards the suppression of kicks and interrupts, of the real code on both sides, in all interleavings, with the store buffers of x86."""
    result = programs("interleave", size, event_idx, delayed, requests)
    assert result.returncode == 0 and "no wake-up is lost" in result.stdout, result.stdout[-3000:]
    assert int(result.stdout.split()[0]) > 1000


def test_no_wakeup_is_lost_of_three(programs):
    """Guards the same where a third request may come while two are on their way: half a million states."""
    result = programs("interleave", 2, True, False, 3)
    assert result.returncode == 0 and int(result.stdout.split()[0]) > 300_000, result.stdout[-3000:]


@pytest.mark.parametrize("what, old, new", [
    ("fence before the look at the index", "\tfence();\n\treturn load(&vq->avail->idx)", "\treturn load(&vq->avail->idx)"),
    ("fence before the look at used_event", "\tfence();\n\tif (vq->event_idx ?", "\tif (vq->event_idx ?"),
    ("second look", "return load(&vq->avail->idx) != vq->last_avail;", "return false;"),
    ("comparison", "vring_need_event(load(used_event(vq)), new, old)", "vring_need_event(load(used_event(vq)) + 1, new, old)"),
], ids=lambda text: text.replace(" ", "-") if text[0].isalpha() and "(" not in text else "")
def test_what_is_missing_is_found(tmp_path, what, old, new):
    """Guards the explorer itself: without a barrier, which only shows with store buffers, both sides end up asleep."""
    launcher = shutil.copytree(ROOT / "launcher", tmp_path / "launcher")
    text = (launcher / "virtqueue.c").read_text()
    assert text.count(old) == 1, what
    (launcher / "virtqueue.c").write_text(text.replace(old, new))
    (tmp_path / "out").mkdir()
    result = build(tmp_path / "out", launcher)("interleave", 2, True, False, 2)
    assert result.returncode == 1 and "both sleep" in result.stdout, result.stdout[-500:]
