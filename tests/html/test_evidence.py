"""Tests which kept sites of an utterance are drawn."""

import dataclasses

import numpy as np

from mme2e_jax.html.evidence import Evidence
from tests.helpers.pages import random_evidence


def _selected_once(untaught: bool) -> Evidence:
    """Evidence of a model whose first stage selects regions of 4x4 sites for all stages."""
    regions = np.random.default_rng(0).random((2, 6, 6)) > 0.5
    kept = [regions.repeat(side, 1).repeat(side, 2) for side in (4, 2, 1)]
    maps = {"v": kept[0][::-1]} if untaught else {}
    return dataclasses.replace(random_evidence(sparse=True), kept={"v": kept}, untaught=maps)


def test_each_stage_has_a_row_where_stages_select_for_themselves():
    evidence = random_evidence(sparse=True)
    for m in "va":
        shown = evidence.kept_sites(m)
        assert list(shown) == ["first stage", "second stage", "third stage"]
        assert all(a is b for a, b in zip(shown.values(), evidence.kept[m], strict=True))


def test_stages_that_keep_the_same_regions_have_one_row():
    evidence = _selected_once(untaught=False)
    shown = evidence.kept_sites("v")
    assert list(shown) == ["all stages"]
    np.testing.assert_array_equal(shown["all stages"], evidence.kept["v"][0])


def test_one_other_site_in_the_last_stage_shows_all_stages():
    evidence = _selected_once(untaught=False)
    evidence.kept["v"][2][0, 0, 0] ^= True
    assert len(evidence.kept_sites("v")) == 3


def test_sites_before_teaching_come_first():
    evidence = _selected_once(untaught=True)
    assert list(evidence.kept_sites("v")) == ["with untrained scores", "all stages"]


def test_a_dense_model_has_no_rows():
    assert random_evidence(sparse=False).kept_sites("v") == {}
