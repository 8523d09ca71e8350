"""Tests for visrec.audit.report_html: the audit on one page of its own."""

import pandas as pd

from visrec.audit.engine import audit
from visrec.audit.policy import check, read_policy
from visrec.audit.predictions import load_predictions
from visrec.audit.report_html import render


def test_report_is_one_page_without_anything_from_outside(result):
    """No script, no link; names are escaped; unknown cells say so."""
    text = render(result, check(result, read_policy([{"gap": "tpr", "at_most": 0.5}])))
    assert text.startswith("<!doctype html>")
    assert "<script" not in text
    assert "http" not in text.replace("arXiv", "")
    assert "Policy: " in text


def test_report_says_unknown_below_the_minimum_count(faces):
    """As the page does, with the number of rows; a rate that rests on fewer rows than its cell says on how many."""
    few = pd.concat([faces, faces.head(7).assign(race="d", label="yes")])
    result = audit(load_predictions(few.drop(columns="file")), by="race", outcome="yes", replicates=20)
    cells = result.cells.set_index("race")
    text = render(result, aif360=False)

    assert "<td class=text>d</td>" in text or "<td>d</td>" in text
    assert text.count("unknown, n = 7") == 3  # accuracy, selection rate, TPR
    assert "unknown, n = 0" in text  # FPR
    assert f", n = {cells.loc['a', 'tpr_n']:,}<" in text
    assert f", n = {cells.loc['a', 'accuracy_n']:,}<" not in text


def test_report_names_the_family_of_every_table(result):
    """Three tables of verdicts, three families: one of the crossing, one of each attribute."""
    text = render(result, aif360=False)

    assert [text.count(f"by {by}. Holm") for by in ("race and age", "race", "age")] == [1, 1, 1]


def test_report_escapes_names():
    """A group called <b> is shown, not run."""
    rows = pd.DataFrame({"label": ["x"], "prediction": ["x"], "g": ["<b>bold</b>"]})
    text = render(audit(load_predictions(rows), by="g", replicates=5), aif360=False)
    assert "<b>" not in text
    assert "&lt;b&gt;bold" in text
