"""Two models on the same images: what pairs, what the figures are, and what may be said."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from visrec.audit import chance, paired
from visrec.errors import InputError


def table(right, *, split="val", start=0, **attributes):
    """Predictions of a model that is right where ``right`` says so."""
    right = np.asarray(right, bool)
    names = [f"{start + i}.jpg" for i in range(len(right))]
    answers = np.where(right, "a", "b")
    return pd.DataFrame({"file": names, "split": split, "label": "a", "prediction": answers, **attributes})


def two_models(rows=4_000, seed=0):
    """B is better for x, worse for y, the same for z."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["x", "y", "z"], rows, p=[0.6, 0.3, 0.1])
    a = rng.random(rows) < 0.8
    shift = pd.Series(group).map({"x": 0.9, "y": 0.65, "z": 0.8}).to_numpy()
    return table(a, race=group), table(rng.random(rows) < shift)


def test_counts_are_those_of_the_pairs():
    """Accuracy of each and their difference, on the images both answered and nothing else."""
    a, b = table([1, 1, 0, 0, 1]), table([1, 0, 1, 0, 1])
    found = paired.compare(a, b, min_count=1).overall

    assert [2, 1, 1, 1] == [found[k] for k in ("both", "only_a", "only_b", "neither")]
    assert (5, 0.6, 0.6, 0.0) == tuple(found[k] for k in ("n", "accuracy_a", "accuracy_b", "difference"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 80), st.integers(0, 80))
def test_p_values_are_those_of_statsmodels(only_a, only_b):
    """Exact below 25 discordant pairs, chi-squared without correction from there on."""
    from statsmodels.stats.contingency_tables import mcnemar

    p, exact = paired.mcnemar([only_a], [only_b])
    expected = mcnemar([[50, only_a], [only_b, 7]], exact=only_a + only_b < 25, correction=False).pvalue

    assert exact[0] == (only_a + only_b < 25)
    assert p[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(0, 0, 30), (0, 5, 40), (3, 9, 44), (20, 4, 200), (7, 7, 15)])
def test_score_interval_ends_where_the_likelihood_says(only_a, only_b, n):
    """Tango's closed form against the nuisance rate found by maximising the likelihood."""

    def statistic(difference):
        def loss(q):  # q: chance that only the first is right
            p = np.array([q, q + difference, 1 - 2 * q - difference])
            seen = np.array([only_a, only_b, n - only_a - only_b])
            return -np.sum(seen[seen > 0] * np.log(np.maximum(p[seen > 0], 1e-300)))

        ends = max(0.0, -difference), (1 - difference) / 2
        q = optimize.minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-12}).x
        return (only_b - only_a - n * difference) / np.sqrt(n * (2 * q + difference - difference**2))

    for end in paired.tango([only_a], [only_b], [n]):
        assert abs(statistic(end[0])) == pytest.approx(1.959964, abs=2e-3)


def test_bootstrap_agrees_with_resampling_the_images():
    """A multinomial draw on four counts is what resampling rows gives, at any number of rows."""
    a, b = two_models(1_500)
    found = paired.compare(a, b).overall
    shift = (b["prediction"] == "a").to_numpy().astype(float) - (a["prediction"] == "a").to_numpy()
    rng = np.random.default_rng(1)
    plain = np.quantile([shift[rng.integers(0, len(shift), len(shift))].mean() for _ in range(4_000)], [0.025, 0.975])

    assert [found["low"], found["high"]] == pytest.approx(plain.tolist(), abs=0.003)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Over small and large cells alike; a bootstrap of three discordant pairs would not."""
    rng = np.random.default_rng(0)
    for n, shares in ((40, (0.85, 0.03, 0.06, 0.06)), (600, (0.7, 0.1, 0.12, 0.08))):
        drawn = rng.multinomial(n, shares, size=800)
        low, high = paired.difference_interval(drawn, chance.generator(0, "test"), 800)
        truth = shares[paired.ONLY_B] - shares[paired.ONLY_A]

        assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.99


def test_planted_differences_are_found_and_the_rest_is_not_claimed():
    """Better for x, worse for y, no claim for z."""
    found = paired.compare(*two_models(), by=["race"])
    verdicts = found.cells.set_index("cell")["verdict"].to_dict()
    said = paired.sentence(found, "old", "new")

    assert {"x": "supported", "y": "supported", "z": "cannot tell"} == verdicts
    assert "new is better for x" in said
    assert "new is worse for y" in said
    assert "z" not in said


def test_equal_models_are_seldom_told_apart():
    """Holm keeps the chance of any false claim over all cells at 5 %."""
    rng = np.random.default_rng(0)
    claims = 0
    for _ in range(400):
        counts = rng.multinomial(200, (0.65, 0.15, 0.15, 0.05), size=8)
        claims += (paired.compared(counts, 30, rng, 20)["verdict"] == "supported").any()

    assert claims <= 35


def test_a_small_cell_is_called_too_few_and_keeps_its_interval():
    """It takes no part in the family, so that it costs the others nothing."""
    a, b = table([1] * 5 + [0] * 60, g=["s"] * 5 + ["t"] * 60), table([0] * 5 + [1] * 60)
    cells = paired.compare(a, b, ["g"]).cells.set_index("cell")

    assert ("too few images", "supported") == (cells.loc["s", "verdict"], cells.loc["t", "verdict"])
    assert np.isnan(cells.loc["s", "p"])
    assert cells.loc["s", "low"] < cells.loc["s", "high"]
    assert cells.loc["t", "p_holm"] == cells.loc["t", "p"]


def test_crossing_follows_the_single_attributes():
    """Every value of each, then the non-empty cells of all together, ages in their order."""
    a = table([1, 0] * 4, race=["B", "W"] * 4, age=["10-19", "10-19", "3-9", "3-9"] * 2)
    cells = paired.compare(a, table([1] * 8), ["race", "age"]).cells

    assert ["B", "W", "3-9", "10-19", "B · 3-9", "B · 10-19", "W · 3-9", "W · 10-19"] == cells["cell"].tolist()
    assert [4] * 4 + [2] * 4 == cells["n"].tolist()


def test_rows_that_do_not_pair_are_counted_with_their_reason():
    """Alone, trained on by the other, without an answer, twice there, labelled otherwise."""
    a, b = table([1] * 10), table([1] * 10, start=2)
    a.loc[9, "prediction"] = None
    a = pd.concat([a, a.iloc[[8]]])
    b.loc[5, "label"] = "b"
    b = pd.concat([b, pd.DataFrame({"file": ["0.jpg"], "split": "train", "label": "a", "prediction": "a"})])
    found = paired.compare(a, b, min_count=1)
    counts = {s["reason"]: s["count"] for s in found.skipped}

    assert 5 == found.overall["n"]
    assert {
        "without file, label or prediction in the first table": 1,
        "in the first table more than once": 2,
        "in the first table alone": 1,
        "in the first table, and seen by the second model in training": 1,
        "in the second table alone": 4,
        "labelled differently in the two tables": 1,
    } == counts


def test_only_rows_that_may_be_audited_are_compared():
    """A model must not win by the images it learnt by heart."""
    a = pd.concat([table([1] * 50, split="train"), table([0] * 40, start=100)])
    found = paired.compare(a, table([1] * 200))

    assert (40, ("val", "val")) == (found.overall["n"], found.splits)


def test_same_seed_same_figures_whatever_the_order_of_rows():
    """A figure in a report can be made again."""
    a, b = two_models()
    first = paired.compare(a, b, ["race"], seed=3)
    again = paired.compare(a.sample(frac=1, random_state=1), b.sample(frac=1, random_state=2), ["race"], seed=3)

    pd.testing.assert_frame_equal(first.cells, again.cells)
    assert first.overall == again.overall


def test_swapping_the_models_turns_every_sign():
    """Neither side is favoured."""
    a, b = two_models()
    there = paired.compare(a, b, ["race"]).cells
    back = paired.compare(b, a, ["race"]).cells

    assert (-there["difference"]).tolist() == pytest.approx(back["difference"].tolist())
    assert there["p"].tolist() == pytest.approx(back["p"].tolist())
    assert there["verdict"].tolist() == back["verdict"].tolist()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.assign(file="x" + t["file"]), "no image in common"),
        (lambda t: t.assign(label="c"), "predict different things"),
        (lambda t: t.drop(columns="file"), "no column 'file'"),
        (lambda t: t.assign(split="train"), "training has seen"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(change, expected):
    """Never an empty table, never a traceback."""
    with pytest.raises(InputError, match=expected):
        paired.compare(table([1] * 40), change(table([0] * 40)))


def test_unknown_attribute_and_split_name_what_there_is():
    """The nearest first."""
    with pytest.raises(InputError, match="Did you mean 'race'"):
        paired.compare(table([1] * 4, race="x"), table([1] * 4), ["rase"])
    with pytest.raises(InputError, match="no rows of split 'test'"):
        paired.compare(table([1] * 4), table([1] * 4), split="test")


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        ([1] * 100, "B is better overall by 50.0 points"),
        ([0] * 100, "A is better overall by 50.0 points"),
        ([1] * 50 + [0] * 50, "cannot tell"),
    ],
)
def test_sentence_names_the_better_one_or_says_it_cannot(b, expected):
    """In points, with the interval turned so that it reads as the gain."""
    said = paired.sentence(paired.compare(table([1] * 50 + [0] * 50), table(b)))

    assert expected in said
    assert "points (-" not in said.partition(":")[0]


def test_sentence_without_a_group_large_enough_says_so():
    """Nothing tested is not the same as nothing found."""
    found = paired.compare(table([1] * 40, g=["s"] * 20 + ["t"] * 20), table([1] * 40), ["g"])

    assert "no group has 30 images in common" in paired.sentence(found)


def test_groups_are_told_from_the_side_of_the_better_one():
    """'Old is better overall; new is worse for x' makes a reader turn every sign around."""
    a, b = two_models()
    said = paired.sentence(paired.compare(b, a, ["race"]), "new", "old")

    assert said.startswith("new is better overall")
    assert "new is better for x (+" in said
    assert "new is worse for y (-" in said
