"""Tests for the null band, the verdict and what they promise: simulated tables with known truths."""

import math

import numpy as np
import pytest

from visrec.audit import gaps
from visrec.audit.cells import CellTable
from visrec.audit.gaps import CANNOT_TELL, SUPPORTED, TOO_FEW, Question, gap_table, max_min_interval
from visrec.audit.intervals import simultaneous
from visrec.audit.metric_text import gap_sentence
from visrec.audit.pairs import newcombe, pair_table

SIZES = np.array([60, 90, 150, 250, 400, 900])


def table_of(counts):
    """A two-class table from counts (cells, 2, 2)."""
    keys = tuple((f"c{i}",) for i in range(len(counts)))
    return CellTable(("group",), keys, ("no", "yes"), counts, np.zeros((len(counts), 2), dtype=np.int64))


def drawn_table(rng, sizes=SIZES, tpr=0.88, fpr=0.15, planted=None):
    """Cells that are all alike, or one of them (the last) with another TPR."""
    positive = rng.binomial(sizes, 0.5)
    found = np.full(len(sizes), tpr)
    if planted is not None:
        found[-1] = planted
    tp, fp = rng.binomial(positive, found), rng.binomial(sizes - positive, fpr)
    counts = np.stack([np.stack([sizes - positive - fp, fp], 1), np.stack([positive - tp, tp], 1)], axis=1)
    return table_of(counts)


def family_errors(tables, replicates, planted=False):
    """How many tables got any false verdict: of gaps (equal cells only), and of pairs of truly equal cells."""
    wrong_gaps = wrong_pairs = found = 0
    for i in range(tables):
        rng = np.random.default_rng([i, planted])
        table = drawn_table(rng, planted=0.70 if planted else None)
        question = Question("yes", seed=i, replicates=replicates)
        verdicts = gap_table(table, question).set_index("rate")["verdict"]
        pairs = pair_table(table, question)
        wrong_gaps += (verdicts == SUPPORTED).any()
        found += verdicts["tpr"] == SUPPORTED
        last = f"c{len(SIZES) - 1}"
        equal = ~((pairs["a"] == last) | (pairs["b"] == last)) if planted else np.ones(len(pairs), dtype=bool)
        wrong_pairs += (pairs[equal]["verdict"] == SUPPORTED).any()
    return wrong_gaps / tables, wrong_pairs / tables, found / tables


def test_family_wise_error_is_kept_on_a_few_equal_tables():
    """The small, fast version of the proof below: 150 tables with all cells equal."""
    wrong_gaps, wrong_pairs, _ = family_errors(150, 500)
    limit = 0.05 + 2 * math.sqrt(0.05 * 0.95 / 150)
    assert wrong_gaps <= limit
    assert wrong_pairs <= limit


@pytest.mark.slow
def test_family_wise_error_and_power_over_a_thousand_tables(capsys):
    """1,000 tables all equal and 1,000 with one planted cell: any false verdict in at most 5 % + 2 MC errors."""
    limit = 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)
    wrong_gaps, wrong_pairs, _ = family_errors(1000, 2000)
    _, planted_pairs, power = family_errors(1000, 2000, planted=True)
    with capsys.disabled():
        print(
            f"\nequal cells: any false gap verdict {wrong_gaps:.3f}, any false pair {wrong_pairs:.3f}; "
            f"one cell planted at TPR 0.70 against 0.88: false among equal pairs {planted_pairs:.3f}, power {power:.3f}"
        )
    assert wrong_gaps <= limit
    assert wrong_pairs <= limit
    assert planted_pairs <= limit
    assert power > 0.9


@pytest.mark.slow
def test_small_unequal_cells_keep_the_error_too():
    """Many cells just above the minimum count, where score tests are least exact."""
    limit = 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)
    sizes = np.array([62, 64, 70, 75, 80, 90, 100, 120, 150, 200])
    wrong = 0
    for i in range(1000):
        table = drawn_table(np.random.default_rng([5, i]), sizes, tpr=0.96, fpr=0.04)
        frame = gap_table(table, Question("yes", seed=i, replicates=1000))
        wrong += (frame["verdict"] == SUPPORTED).any()
    assert wrong / 1000 <= limit


def test_a_planted_cell_is_found():
    """One cell of 900 with TPR 0.70 against 0.88 is supported, and named the worst."""
    frame = gap_table(drawn_table(np.random.default_rng(1), planted=0.7), Question("yes")).set_index("rate")
    assert frame.loc["tpr", ["verdict", "worst"]].tolist() == [SUPPORTED, "c5"]
    assert frame.loc["fnr", ["verdict", "worst"]].tolist() == [SUPPORTED, "c5"]
    assert frame.loc["tpr", "value"] > frame.loc["tpr", "null_high"]


def test_fewer_than_two_cells_that_reach_the_count_say_nothing():
    """Too few images: no gap, no p, and the sentence says so."""
    frame = gap_table(drawn_table(np.random.default_rng(1)), Question("yes", min_count=5000))
    assert set(frame["verdict"]) == {TOO_FEW}
    assert frame["value"].isna().all()
    assert "too few images" in gap_sentence(frame.iloc[0], ["group"], 5000)


def test_a_rate_rests_on_its_own_count():
    """100 images with 3 positives say something of FPR, and nothing of TPR."""
    counts = np.array([[[90, 7], [1, 2]], [[80, 9], [2, 9]], [[85, 5], [1, 1]]])
    frame = gap_table(table_of(counts), Question("yes")).set_index("rate")
    assert frame.loc["tpr", "verdict"] == TOO_FEW
    assert frame.loc["balanced_accuracy", "verdict"] == TOO_FEW
    assert frame.loc["fpr", "verdict"] == CANNOT_TELL


def test_gap_interval_covers_the_truth_at_equal_rates():
    """The simultaneous interval starts at 0 when all are equal (a bootstrap of the maximum never would)."""
    covered = 0
    for i in range(300):
        rng = np.random.default_rng(i)
        low, high = max_min_interval(*simultaneous(rng.binomial(SIZES, 0.9), SIZES))
        covered += low <= 0 <= high
    assert covered / 300 >= 0.95


def test_verdicts_do_not_depend_on_the_order_of_calls():
    """Same seed, same figures, whatever was computed before; another seed, other draws; no global seed is touched."""
    table = drawn_table(np.random.default_rng(2))
    before = np.random.get_state()[1].copy()
    first, again = gap_table(table, Question("yes")), gap_table(table, Question("yes"))
    other = gap_table(table, Question("yes", seed=1))
    assert first.equals(again)
    assert not first["null_mean"].equals(other["null_mean"])
    assert (np.random.get_state()[1] == before).all()


def test_permuted_rows_keep_their_margins():
    """Dealt out anew, each cell keeps its labels and each label its answers, for two classes and for more."""
    rng = np.random.default_rng(0)
    binary = rng.integers(1, 40, (5, 4))
    dealt = gaps.chance.permute_binary(binary, 200, rng)
    assert (dealt[..., :2].sum(-1) == binary[:, :2].sum(-1)).all()
    assert (dealt.sum(axis=1) == binary.sum(axis=0)).all()
    many = rng.integers(0, 30, (4, 3, 4))
    dealt = gaps.chance.permute_classes(many, 100, rng)
    assert (dealt.sum(axis=3) == many.sum(axis=2)).all()
    assert (dealt.sum(axis=1) == many.sum(axis=0)).all()
    assert dealt.mean(axis=0)[0] == pytest.approx(
        many.sum(axis=0) * (many[0].sum(axis=1) / many.sum(axis=(0, 2)))[:, None], abs=1.5
    )


def test_sentence_never_contradicts_its_verdict():
    """A supported gap inside the band of the smallest cells, and an unsupported one beyond it, are explained."""
    row = {"rate": "f1", "value": 0.2, "null_high": 0.3, "verdict": SUPPORTED, "cells": 9}
    assert gap_sentence(row, ["race"]) == (
        "The gap in F1 by race is 0.20; chance alone would show up to 0.30 at these sizes, the smallest included. "
        "Yet at least two cells are further apart than chance allows at their own sizes: supported."
    )
    row |= {"value": 0.4, "verdict": CANNOT_TELL}
    assert "may be chance: cannot tell" in gap_sentence(row, ["race"])


def test_pairs_of_small_cells_need_newcombes_interval():
    """At equal rates of 94 % with 30 and 300 images a bootstrap covers the truth in 83 of 100 tables (ADR 0012)."""
    rng = np.random.default_rng(0)
    sizes = np.array([30, 300])
    hits = rng.binomial(sizes, 0.94, (1_000, 2))
    low, high = newcombe(hits[:, 0], sizes[0], hits[:, 1], sizes[1])
    drawn = rng.binomial(sizes, hits[:, None] / sizes, (1_000, 1_000, 2)) / sizes
    boot_low, boot_high = np.quantile(drawn[..., 0] - drawn[..., 1], [0.025, 0.975], axis=1)

    assert np.mean((low <= 0) & (high >= 0)) > 0.94
    assert np.mean((boot_low <= 0) & (boot_high >= 0)) < 0.88


def test_every_listed_pair_has_a_bootstrap_interval_too():
    """Where cells are large the two intervals say the same; the bootstrap's holds the difference seen."""
    counts = np.array([[[450, 50], [50, 450]], [[425, 75], [75, 425]], [[350, 150], [150, 350]]])
    pairs = pair_table(table_of(counts), Question("correct"))

    assert (pairs["boot_low"] < pairs["difference"]).all()
    assert (pairs["difference"] < pairs["boot_high"]).all()
    assert pairs["boot_low"].to_numpy() == pytest.approx(pairs["low"].to_numpy(), abs=0.005)
