"""Two runs on the same images, as the Runs page shows them."""

import numpy as np
from streamlit.testing.v1 import AppTest

from tests.pages.conftest import drawn_predictions, make_run


def compare_all():
    """Every run of the place, as if each were ticked."""
    from visrec.ui import cached, runs_view

    runs_view.compare(cached.run_list())


def page() -> AppTest:
    return AppTest.from_function(compare_all, default_timeout=60)


def better(places, name="better"):
    """A run that is right wherever the drawn one is, and on most of the rest."""
    run = make_run(places, name=name)
    table = drawn_predictions()
    mended = np.random.default_rng(1).random(len(table)) < 0.6
    table["prediction"] = table["prediction"].where(~mended, table["label"])
    run.write_table("predictions.parquet", table)
    return run


def test_two_runs_are_compared_image_by_image(places, run):
    """The sentence, then every group with its verdict; no word from overlapping intervals, which is weaker."""
    better(places)
    at = page().run()

    assert not at.exception
    shown = [m.value for m in at.markdown]
    assert any("is better overall" in text and "supported" in text for text in shown)
    table = next(d.value for d in at.dataframe if "p_holm" in d.value)
    assert "all images" == table["cell"].iloc[0]
    assert {"Black", "White", "3-9", "Black · 3-9"} <= set(table["cell"])
    assert not any("overlap" in c.value for c in at.caption)


def test_groups_can_be_chosen(places, run):
    """Fewer groups asked, fewer paid for in the correction."""
    better(places)
    at = page().run()
    at.multiselect(key="paired_by").set_value(["race"]).run()
    table = next(d.value for d in at.dataframe if "p_holm" in d.value)

    assert ["all images", "Black", "East Asian", "White"] == table["cell"].tolist()


def test_of_three_runs_two_are_chosen(places, run):
    """The oldest and the newest to begin with."""
    better(places, "second"), better(places, "third")
    at = page().run()
    boxes = [at.selectbox(key=f"paired_{label}") for label in ("Compare", "with")]

    assert len({box.value for box in boxes}) == 2
    boxes[1].set_value(boxes[0].value)
    at.run()
    assert any("two different runs" in c.value for c in at.caption)


def test_runs_on_other_images_say_so(places, run):
    """A sentence instead of a figure that means nothing."""
    other = better(places)
    other.write_table("predictions.parquet", drawn_predictions().assign(file=lambda t: "x/" + t["file"]))
    at = page().run()

    assert not at.exception
    assert any("no image in common" in i.value for i in at.info)


def test_a_run_without_predictions_leaves_the_plain_remark(places, run):
    """Nothing to pair: the intervals' remark stands."""
    make_run(places, state="failed", name="broken")
    at = page().run()

    assert not at.exception
    assert any("overlap" in c.value for c in at.caption)


def test_gaps_and_curves_stand_side_by_side(places, run):
    """Each run's gap in each watched attribute with its verdict, and their passes in one chart."""
    import pandas as pd

    other = better(places)
    for made, values in ((run, [0.5, 0.6]), (other, [0.6, 0.8, 0.9])):
        made.write_table("history.csv", pd.DataFrame({"stage": "fine_tune", "tune_accuracy": values}))
    at = page().run()

    assert not at.exception
    gaps = next(d.value for d in at.dataframe if "chance" in d.value)
    assert {("drawn", "race"), ("drawn", "age"), ("better", "race"), ("better", "age")} == set(
        zip(gaps["run"], gaps["attribute"], strict=True)
    )
    by_race = gaps[gaps["attribute"] == "race"].set_index("run")
    assert "supported" == by_race.loc["drawn", "verdict"]
    assert by_race.loc["drawn", "worst"].startswith("Black")
    assert by_race.loc["better", "gap"] < by_race.loc["drawn", "gap"]
    curves = next(d.value for d in at.dataframe if "pass" in d.value)
    assert [3, 3] == [len(curves), curves["better"].notna().sum()]


def test_a_run_renamed_since_is_called_by_its_new_name(places, run):
    """What is kept of a comparison is its figures, not what the runs were called."""
    from visrec.runs.record import rename

    other = better(places)
    at = page().run()
    rename(other, "the newer one")
    at.run()

    assert any("the newer one is better overall" in m.value for m in at.markdown)
