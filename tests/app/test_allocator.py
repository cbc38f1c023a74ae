"""What is freed goes back to the system, unless the environment says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, threading
from tunewatch.app import allocator

class Held(ctypes.Structure):  # mallinfo2(3)
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks",
                     "fsmblks", "uordblks", "fordblks", "keepcost")
    ]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Held

if "DEFAULT" not in os.environ:
    allocator.keep_little(os.environ)
large = bytearray(10 * 2**20)
del large  # by default, what is smaller than that comes from the heap from now on
before = libc.mallinfo2().hblks
body = bytearray(3 * 2**20)
print("mapped" if libc.mallinfo2().hblks > before else "in the heap")
kept = []

def keep():
    kept.extend(bytearray(1000) for _ in range(900))

thread = threading.Thread(target=keep)
thread.start()
thread.join()
# malloc_stats(3) writes a line for each heap to stderr.
libc.malloc_stats()
"""


def lived(**environ: str) -> tuple[str, int]:
    """Return where a body was put, and how many heaps there were in the end."""
    ours = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=ours | environ,
        capture_output=True,
        text=True,
        check=True,
    )
    heaps = sum(line.startswith("Arena ") for line in done.stderr.splitlines())
    return done.stdout.strip(), heaps


def test_a_large_body_is_a_mapping_of_its_own_and_threads_share_a_heap():
    assert lived() == ("mapped", 1)


def test_by_default_it_is_neither():
    assert lived(DEFAULT="1") == ("in the heap", 2)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"MALLOC_ARENA_MAX": "4"}, ("mapped", 2)),
        ({"MALLOC_MMAP_THRESHOLD_": "8000000"}, ("in the heap", 1)),
    ],
)
def test_what_the_environment_says_goes_first(said, found):
    assert lived(**said) == found
