"""One run at a time per directory."""

import subprocess
import sys
from pathlib import Path

import pytest

from mme2e_jax.errors import UserError
from mme2e_jax.runtime.lock import check_unlocked, lock_workdir

HOLD = """
import sys, time
from pathlib import Path
from mme2e_jax.runtime.lock import lock_workdir
with lock_workdir(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_second_run_in_a_directory_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    workdir = tmp_path / "made" / "run"
    with lock_workdir(workdir):
        with (
            pytest.raises(UserError, match=r"Another run works in .*run\. .* another --workdir"),
            lock_workdir(workdir),
        ):
            pass
        with lock_workdir(tmp_path / "other"):
            pass
    with lock_workdir(workdir):
        pass


def test_a_directory_without_a_run_is_unlocked_and_stays_as_it_is(tmp_path: Path) -> None:
    check_unlocked(tmp_path / "none")
    assert not any(tmp_path.iterdir())
    with lock_workdir(tmp_path), pytest.raises(UserError, match="Another run works in"):
        check_unlocked(tmp_path)
    check_unlocked(tmp_path)


def test_a_run_that_is_killed_leaves_no_lock(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(UserError, match="Another run"), lock_workdir(tmp_path):
        pass

    process.kill()
    process.communicate()

    with lock_workdir(tmp_path):
        pass
