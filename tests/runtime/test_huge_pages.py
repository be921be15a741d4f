"""A program restarts once with huge pages, where the kernel leaves them to programs."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mme2e_jax.runtime import huge_pages

SCRIPT = """
import os, sys
from pathlib import Path
from mme2e_jax.runtime import huge_pages
huge_pages._KERNEL = Path(sys.argv[1])
huge_pages.use_huge_pages()
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), sys.argv[2:])
"""


def printed(kernel: Path, tunables: str | None) -> tuple[int, int, str]:
    """The process that was started, the one that printed, and the rest of what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    if tunables is not None:
        environment["GLIBC_TUNABLES"] = tunables
    command = [sys.executable, "-c", SCRIPT, str(kernel), "a b", "--c=1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        output = process.communicate()[0]
    assert process.returncode == 0
    (line,) = output.splitlines()
    number, rest = line.split(" ", 1)
    return process.pid, int(number), rest


@pytest.mark.parametrize(
    ("kernel", "given", "expected"),
    [
        ("always [madvise] never", None, "glibc.malloc.hugetlb=1"),
        ("always [madvise] never", "glibc.malloc.check=0", "glibc.malloc.check=0:glibc.malloc.hugetlb=1"),
        ("always [madvise] never", "glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
        ("always madvise [never]", None, "None"),
        ("[always] madvise never", None, "None"),
        (None, None, "None"),
    ],
)
def test_the_same_process_goes_on_with_the_same_arguments(
    tmp_path: Path, kernel: str | None, given: str | None, expected: str
) -> None:
    file = tmp_path / "enabled"
    if kernel is not None:
        file.write_text(kernel)

    started, now, rest = printed(file, given)

    assert now == started
    assert rest == f"{expected} ['a b', '--c=1']"


def test_a_process_of_multiprocessing_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "enabled").write_text("always [madvise] never")
    monkeypatch.setattr(huge_pages, "_KERNEL", tmp_path / "enabled")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    process = multiprocessing.get_context("fork").Process(target=_exits_if_it_goes_on)
    process.start()
    process.join()
    assert process.exitcode == 7


def _exits_if_it_goes_on() -> None:
    huge_pages.use_huge_pages()
    os._exit(7)
