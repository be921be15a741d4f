"""Huge pages for large arrays on Linux.

Without them, page faults take an eighth of the CPU time of a training step and more.
"""

import multiprocessing
import os
import sys
from pathlib import Path

_VARIABLE, _TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def use_huge_pages() -> None:
    """Restarts this program once, so that the C library asks the kernel for huge pages; returns where it has.

    XLA takes the memory of a step anew each time. glibc asks for huge pages if a variable says so when a process starts
    (glibc's manual, "Memory Allocation Tunables"). The kernel must leave this choice to programs, as most do; others,
    and other systems, are left as they are, and so are processes of multiprocessing, whose command line cannot run
    again. To prevent the restart set GLIBC_TUNABLES=glibc.malloc.hugetlb=0.
    """
    given = os.environ.get(_VARIABLE, "")
    if _TUNABLE in given or multiprocessing.parent_process() or not _left_to_programs():
        return
    os.environ[_VARIABLE] = ":".join(filter(None, [given, f"{_TUNABLE}=1"]))
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _left_to_programs() -> bool:
    try:
        return "[madvise]" in _KERNEL.read_text()
    except OSError:
        return False
