"""How much of the machine's memory the allocator keeps."""

import os
import subprocess
import sys

import pytest

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="glibc is Linux's"
)

HEAPS = """
import ctypes, sys, threading
from kbert.utils.glibc import share_heaps

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
share_heaps()
barrier = threading.Barrier(40)


def work():
    barrier.wait()
    libc.malloc(ctypes.c_size_t(1000))
    barrier.wait()


threads = [threading.Thread(target=work) for _ in range(40)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
out = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, out)
libc.fclose(out)
"""


@linux
def test_threads_share_heaps(tmp_path):
    path = tmp_path / "info"
    subprocess.run([sys.executable, "-c", HEAPS, path], check=True)
    heaps = path.read_text().count("<heap nr=")
    assert 1 <= heaps <= max(2, os.cpu_count())


BATCHES = """
import numpy as np
from kbert.data.batching import tf_dataset

batch = np.zeros((2, 3), "int32")
for _ in tf_dataset(lambda: iter([batch] * 2), batch, 2):
    pass

from resource import RUSAGE_SELF, getrusage

def faults():
    return getrusage(RUSAGE_SELF).ru_minflt

rows = [np.ones(1 << 18) for _ in range(3)]  # 2 MB each
del rows
before = faults()
for _ in range(20):
    np.ones(1 << 18)
print((faults() - before) / 20)
"""


@linux
def test_batches_leave_blocks_where_they_are():
    found = subprocess.run(
        [sys.executable, "-c", BATCHES],
        check=True,
        capture_output=True,
        text=True,
    )
    # Given back and asked for again, each would be 512 pages.
    assert float(found.stdout) < 100
