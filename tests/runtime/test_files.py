"""Files appear complete or not at all."""

import errno
import json
import os
from pathlib import Path

import pytest

from mme2e_jax.errors import UserError
from mme2e_jax.runtime.files import atomic_file, disk_errors, require_utf8, write_json, write_text


def test_a_file_is_replaced_when_its_new_content_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    assert require_utf8(tmp_path / "é") == tmp_path / "é"
    with pytest.raises(UserError, match=r"Expected a path in UTF-8, found .*caf"):
        require_utf8(tmp_path / os.fsdecode(b"caf\xe9"))


def test_a_file_stays_as_it_was_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_halfway() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_several_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    with atomic_file(path) as first:
        with atomic_file(path) as second:
            first.write(b"first")
            second.write(b"second")
        assert path.read_text() == "second"

    assert path.read_text() == "first"


def test_json_is_written_with_a_final_newline(tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    write_json(path, {"name": "ä", "values": [1, 0.1]})

    assert path.read_text() == '{\n  "name": "\\u00e4",\n  "values": [\n    1,\n    0.1\n  ]\n}\n'
    write_json(path, {"name": "ä"}, indent=None, ensure_ascii=False)
    assert path.read_bytes() == b'{"name": "\xc3\xa4"}\n'
    assert json.loads(path.read_bytes()) == {"name": "ä"}


def test_parts_that_are_not_unicode_become_marks(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "caf\udce9 \ud800!")

    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "caf\ufffd \ufffd!"


def test_numbers_that_json_lacks_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"f1": float("nan")})

    assert not list(tmp_path.iterdir())


def test_errors_of_files_are_one_sentence_with_the_path(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=rf"^No such file or directory: {tmp_path}/absent/a\.txt\. Check the path"),
        disk_errors(),
    ):
        write_text(tmp_path / "absent" / "a.txt", "text")


def test_a_full_disk_names_the_file_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    message = rf"No space is left on the disk of {path}\. Free"
    with pytest.raises(UserError, match=message), disk_errors(), atomic_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert not list(tmp_path.iterdir())


def test_errors_without_a_file_are_not_changed() -> None:
    with pytest.raises(BrokenPipeError), disk_errors():
        raise BrokenPipeError
