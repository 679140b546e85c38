# SPDX-License-Identifier: GPL-2.0
"""Linux's own virtio_ring.c, compiled outside of a kernel, as the driver of the launcher's queues, under ASan and UBSan (tests/ring)."""
import subprocess

import pytest

from conftest import ROOT
from chapter import linux


@pytest.fixture(scope="module")
def ring():
    """Run requests through a ring; its last line."""
    out = ROOT / "build/tests/ring"
    made = subprocess.run(["make", "-C", ROOT / "tests/ring", f"O={out}", f"LINUX={linux()}"], capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout[-1000:] + made.stderr[-3000:]

    def run(size, event_idx, indirect, requests, seed):
        words = map(str, (size, int(event_idx), int(indirect), requests, seed))
        return subprocess.run([out / "ring", *words], capture_output=True, text=True, timeout=120)
    return run


@pytest.mark.parametrize("indirect", [False, True], ids=["direct", "indirect"])
@pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event-idx"])
@pytest.mark.parametrize("size", [1, 2, 4, 16, 256])
def test_each_request_comes_back_once(ring, size, event_idx, indirect):
    """Guards the queue against the driver it is made for: data, lengths, order of publishing, and no lost wake-up on either side.
    Red: no second look in kicks_on(); a used length that is one too large; used_event compared with one more."""
    result = ring(size, event_idx, indirect, 4000, size * 4 + event_idx * 2 + indirect)
    assert result.returncode == 0, result.stdout[-500:] + result.stderr[-3000:]
    assert result.stdout.startswith(f"4000 requests, a ring of {size}")


@pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event-idx"])
def test_indexes_wrap(ring, event_idx):
    """Guards the 16-bit arithmetic: more requests than an index has values. Red: `unsigned int` for last_avail."""
    result = ring(8, event_idx, True, 140_000, 3)
    assert result.returncode == 0, result.stdout[-500:] + result.stderr[-3000:]
