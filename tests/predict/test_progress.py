"""Progress on many files."""

import pytest

from mme2e_jax.predict.progress import FileProgress


def test_a_log_has_a_line_a_minute_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = 0.0
    with FileProgress([100] * 10, now=lambda: seconds) as progress:
        progress.skip(100)
        progress.skip(100)
        for _ in range(4):
            for share in (0.5, 1.0):
                seconds += 25.0
                progress.advance(100, share)

    assert capsys.readouterr().out.splitlines() == [
        "  3 of 10 files, 0:05:25 left",
        "  5 of 10 files, 0:04:10 left",
    ]
