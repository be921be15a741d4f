"""Reading the report of preparation, also a missing, damaged or foreign one."""

import json
from pathlib import Path

import pytest

from data_tools.records.report import Report
from mme2e_jax.media.utterance import Finding
from mme2e_jax.report.preparation import FILE, Reason, ReportedUtterance, read_preparation


def test_the_report_of_preparation_is_read(tmp_path: Path) -> None:
    made = Report(
        findings=[Finding("a_1", "no_wav"), Finding("b_2", "past_end")], kept=["a_1", "c_3"], warnings=["Odd."]
    )
    (tmp_path / FILE).write_text(json.dumps(made.to_json()))

    found = read_preparation(tmp_path)

    assert found is not None
    assert found.utterances == {"kept": 2, "kept_degraded": 1, "dropped": 1, "excluded": 0}
    meaning = "The wav file is missing; the utterance is kept without sound."
    expected = Reason(effect="degraded", meaning=meaning, count=1, utterances=[ReportedUtterance(id="a_1")])
    assert found.reasons["no_wav"] == expected
    assert found.warnings == ["Odd."]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"utterances": 3}', '{"utterances": {}, "reasons": {"x": []}}', "\xff"]
)
def test_an_invalid_report_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))

    assert read_preparation(tmp_path) is None


def test_records_without_a_report_have_none(tmp_path: Path) -> None:
    assert read_preparation(tmp_path) is None
