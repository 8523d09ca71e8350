"""The headline of a trained run is the figure that its audit shows: of test, else of val; and it says of which."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from visrec.audit.splits import choose_split
from visrec.model import steps
from visrec.runs.record import headline
from visrec.ui import training


def work(*splits):
    """Four rows of each split: all right in train and tune, three of four in val, two of four in test."""
    samples = pd.DataFrame({"split": np.repeat(splits, 4), "label": "a"})
    return SimpleNamespace(
        samples=samples, labels=["a", "b"], rows=lambda *names: np.flatnonzero(samples["split"].isin(names))
    )


def chances(samples):
    """Answers as wrong as `work` says."""
    wrong = {"val": 1, "test": 2}
    miss = [i % 4 < wrong.get(split, 0) for i, split in enumerate(samples["split"])]
    return np.where(np.array(miss)[:, None], [0.1, 0.9], [0.9, 0.1])


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("train", "tune", "val", "test"), ("test", 0.5)),
        (("train", "tune", "val"), ("val", 0.75)),
        (("train", "tune"), ("tune", 1.0)),
        (("train",), ("train", 1.0)),
    ],
)
def test_the_headline_is_of_the_rows_that_an_audit_takes(splits, expected):
    """Two different accuracies of one run, one on the Train page and one on the Trust pages, would be one too many."""
    given = work(*splits)
    metrics = steps.judged(given, chances(given.samples))
    shown = headline({"metrics": metrics})

    assert expected == (shown["split"], shown["value"])
    assert ("val_accuracy" in metrics) == ("val" in splits)
    if expected[0] in ("test", "val"):
        assert choose_split(splits) == expected[0]


def test_the_page_says_when_the_training_has_seen_the_images():
    """Where no image of val or test could be read, the figure is of tune, and that is said."""
    assert "never saw" in training.judged_help({"split": "test"})
    assert "has seen" in training.judged_help({"split": "tune"})
    assert "never saw" not in training.judged_help({"split": "tune"})


def test_few_images_to_judge_by_are_counted_where_they_are_judged():
    """Of test, when there is one."""
    from visrec.config import TrainConfig
    from visrec.model.train import _warnings

    samples = pd.DataFrame({"split": ["train"] * 300 + ["tune"] * 30 + ["val"] * 100 + ["test"] * 7, "label": "a"})

    assert any("Only 7 images to judge by" in text for text in _warnings(samples, TrainConfig("b")))
