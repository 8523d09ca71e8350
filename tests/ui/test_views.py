"""Tests for the words and tables of the Trust pages, without a browser."""

import numpy as np
import pandas as pd
import pytest

from visrec.audit.engine import audit
from visrec.audit.predictions import load_predictions
from visrec.ui import audit_view, confusion_view, fairness_view, import_view, overview_view, state, training


def predictions(seed: int = 0, rows: int = 1200, low: float = 0.7) -> pd.DataFrame:
    """Three groups, one of them answered rightly less often, and five rows of a fourth."""
    rng = np.random.default_rng(seed)
    race = np.append(rng.choice(["a", "b", "c"], rows), ["tiny"] * 5)
    label = rng.choice(["no", "yes"], rows + 5)
    hit = rng.random(rows + 5) < np.where(race == "a", low, 0.93)
    age = rng.choice(["3-9", "10-19"], rows + 5)
    answer = np.where(hit, label, np.where(label == "no", "yes", "no"))
    return pd.DataFrame({"label": label, "prediction": answer, "race": race, "age": age})


@pytest.fixture
def planted():
    return audit(load_predictions(predictions(), attributes=["race", "age"]), by=["race"])


@pytest.fixture
def alike():
    return audit(load_predictions(predictions(low=0.93), attributes=["race", "age"]), by=["race"])


class TestOverview:
    def test_the_planted_group_leads(self, planted):
        """Cards, sentences and ranking agree on who is failed."""
        overall, worst, gap = overview_view.cards(planted, "accuracy")

        assert "n = 1,205" in overall.note
        assert "Worst supported group: a" == worst.label
        assert "accuracy by race" in gap.label
        assert "chance alone" in gap.note
        assert overview_view.can_say(planted, "accuracy")[0].startswith("**a**")
        assert "a" == overview_view.ranked(planted, "accuracy")["cell"][0]
        assert [{"race": ["a"]}] == overview_view.worst_slices(planted, "accuracy", most=1)

    def test_without_a_difference_nothing_is_claimed(self, alike):
        """Alike groups: no worst group, no gap, and not called equal either."""
        _, worst, gap = overview_view.cards(alike, "accuracy")

        assert ("none", "none") == (worst.value, gap.value)
        assert "not proof" in gap.help
        assert any("not proof" in line for line in overview_view.cannot_tell(alike, "accuracy"))

    def test_a_tiny_group_is_unknown_with_its_count(self, planted):
        """Five rows are named, last in the ranking, and never the worst group."""
        assert "tiny (n = 5)" in " ".join(overview_view.cannot_tell(planted, "accuracy"))
        assert overview_view.ranked(planted, "accuracy").iloc[-1][["cell", "small"]].tolist() == ["tiny", True]

    def test_what_would_settle_it_has_numbers(self, planted):
        """More images, group by group."""
        assert any(
            "more images are needed" in line and "tiny" in line
            for line in overview_view.settle(planted, "accuracy", 0.05)
        )


class TestConfusion:
    @pytest.fixture
    def matrices(self, planted):
        return confusion_view.matrices_of(planted, ["race", "age"])

    def test_crossing_has_every_combination(self, matrices):
        """A combination without a row is shown as unknown, not left out; ages in natural order."""
        assert 8 == len(matrices.keys)
        assert ("a", "3-9") == matrices.keys[0]
        assert ("a", "10-19") == matrices.keys[1]

    def test_counts_add_up_to_the_overall_matrix(self, matrices):
        """Nothing lost in the grid."""
        assert matrices.overall.tolist() == matrices.counts.sum(axis=0).tolist()

    @pytest.mark.parametrize("square", [(-1, 0, 1), (0, 1, 0), (5, 1, 1)])
    def test_square_survives_the_url(self, matrices, square):
        """Written and read back, it is the same square."""
        assert square == confusion_view.read_square(matrices, confusion_view.square_text(matrices, square))

    @pytest.mark.parametrize("text", [None, "", "a", "a|b", "nobody|3-9|no|yes", "*|no|maybe", "a|3-9|no"])
    def test_a_strange_square_opens_nothing(self, matrices, text):
        """An old or mistyped bookmark is no fault."""
        assert confusion_view.read_square(matrices, text) is None

    def test_table_leaves_small_shares_unknown(self, matrices):
        """NaN with the count beside it."""
        table = confusion_view.long_table(matrices, ["race", "age"])

        assert table.loc[table["race"] == "tiny", "share_of_row"].isna().all()
        assert 5 == table.loc[table["race"] == "tiny", "count"].sum()


class TestMetrics:
    def test_gap_chart_has_no_rate_twice(self, planted):
        """A rate and its complement are one question; for `correct`, selection rate is accuracy."""
        names = fairness_view.gap_frame(planted.gaps)["name"].tolist()

        assert ["accuracy", "balanced accuracy", "F1"] == names

    def test_gap_lines_follow_the_verdicts(self, planted, alike):
        """Words and verdict column say the same."""
        assert any("accuracy: a " in line for line in fairness_view.gap_lines(planted.gaps))
        assert "Perhaps chance" in " ".join(fairness_view.gap_lines(alike.gaps))
        assert "More than chance" not in " ".join(fairness_view.gap_lines(alike.gaps))

    def test_both_ends_are_shown_when_there_are_many(self):
        """The lowest and the highest known groups, and some unknown ones."""
        frame = pd.DataFrame({"value": np.arange(40) / 40, "small": np.arange(40) >= 35})
        shown = fairness_view.ends_of(frame, 10)

        assert 10 == len(shown)
        assert {0.0, 34 / 40} <= set(shown["value"])
        assert 2 == shown["small"].sum()

    def test_count_of_a_rate_is_its_own_denominator(self):
        """TPR of a group with 200 rows but 10 positives rests on 10: unknown."""
        frame = pd.DataFrame(
            {"label": ["yes"] * 10 + ["no"] * 190 + ["yes", "no"] * 100, "prediction": ["no", "yes"] * 200}
        ).assign(race=["a"] * 200 + ["b"] * 200)
        one = audit(load_predictions(frame, attributes=["race"]), by=["race"], outcome="yes")
        shown = audit_view.rate_frame(audit_view.cells_of(one), one.by, "tpr").set_index("cell")

        assert (10, True) == (shown.loc["a", "n"], bool(shown.loc["a", "small"]))
        assert not shown.loc["b", "small"]


class TestImport:
    def test_groups_offered_are_few_valued_columns(self):
        """Neither the file names nor a constant nor the label itself."""
        table = predictions(rows=200).assign(file=[f"{i}.jpg" for i in range(205)], one="x")

        assert ["race", "age"] == import_view.grouping_columns(table, {"label", "prediction"})


def test_without_a_filter_the_rows_are_the_predictions_and_no_copy():
    """A million of them would be copied at each rerun; a filter still cuts."""
    table = pd.DataFrame({"race": ["x", "y", "x"], "label": list("aab"), "prediction": list("aba")})

    def view(**where):
        return state.View(None, table, where, state.CORRECT, 30, "", ("race",), ("a", "b"))

    assert view().rows is table
    assert view(race=["x"]).rows.index.tolist() == [0, 2]


@pytest.mark.parametrize("groups", [1, 2, 5, 8])
def test_learning_curves_have_room_for_a_name_a_line(groups):
    """On a telephone the legend is one column of 19 px a name, and Plotly lets it take half of the height."""
    columns = {f"accuracy:race={i}": str(i) for i in range(groups)}
    figure = training.curve(pd.DataFrame({name: [0.5, 0.6] for name in columns}), columns)

    assert figure.layout.height / 2 >= 19 * groups
    assert groups == len(figure.data)
