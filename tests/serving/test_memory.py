"""How much of the machine's memory a server keeps."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, threading
from kbert.serving.memory import share_heaps

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


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="glibc is Linux's"
)
def test_threads_share_heaps(tmp_path):
    path = tmp_path / "info"
    subprocess.run([sys.executable, "-c", PROGRAM, path], check=True)
    heaps = path.read_text().count("<heap nr=")
    assert 1 <= heaps <= max(2, os.cpu_count())
