"""The Trust pages through ``app.py``: they draw, and their figures are the audit's to the last digit."""

import json
import re

import numpy as np
import pytest

from tests.pages.conftest import make_run
from visrec.audit.engine import audit
from visrec.audit.predictions import load_predictions

PAGES = ["pages/trust/overview.py", "pages/trust/confusion.py", "pages/trust/fairness.py"]


def open_page(app, page: str, **query):
    """The page as a bookmark opens it: in a fresh session, with the address's parameters."""
    for key, value in query.items():
        app.query_params[key] = value
    app.switch_page(page).run()
    return app


def figures(app) -> list[dict]:
    """Every Plotly figure of the page, as sent to the browser."""
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def rows_of(app) -> str:
    """The rows of the page (`visrec.ui.charts_rows`), as sent to the browser."""
    return "\n".join(e.proto.body for e in app.get("html") if "vr-row" in e.proto.body)


def open_tables(app, *names: str):
    """The tables beneath the charts, opened as a visitor does: they are made only then."""
    for name in names:
        app.session_state[f"open_{name}"] = True
    return app.run()


def words(app) -> str:
    """Every text of the page, without Markdown's escapes."""
    return "\n".join(
        str(e.value) for kind in ("markdown", "caption", "subheader", "info") for e in app.get(kind)
    ).replace("\\", "")


def direct(run, **options):
    """The audit object, made without the page."""
    frame = run.predictions()
    return audit(load_predictions(frame, split="val", attributes=["race", "age"], labels=run.labels()), **options)


def command_line(capsys, run, *options: str) -> dict:
    """What ``visrec audit RUN --json`` prints."""
    from visrec.cli import run as visrec

    capsys.readouterr()
    assert 0 == visrec(["audit", run.id, "--json", *options])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("page", PAGES)
def test_without_a_run_the_page_says_what_to_do(app, page):
    """An empty state is a page too."""
    open_page(app, page)

    assert not app.exception
    assert any("No run yet" in s.value for s in app.subheader)


@pytest.mark.parametrize("page", PAGES)
def test_page_draws(app, run, page):
    """Each page shows at least one chart and no fault."""
    open_page(app, page)

    assert not app.exception
    assert not app.error
    assert figures(app) or rows_of(app)


@pytest.mark.parametrize("page", PAGES)
def test_without_attributes_the_page_shows_what_holds_for_all_rows(app, places, page):
    """A bucket of stop signs has no groups; its accuracy and its matrix are wanted all the same."""
    run = make_run(places, attributes=[], by=[])
    run.write_table("predictions.parquet", run.predictions().drop(columns=["race", "age"]))
    open_page(app, page, run=run.id)

    assert not app.exception
    assert not app.error
    assert "no groups to compare" in words(app)
    right = int((run.predictions()["label"] == run.predictions()["prediction"]).sum())
    if page.endswith("overview.py"):
        assert f"{right / 900:.3f}" in words(app)
    if page.endswith("confusion.py"):
        assert f"{right:,} of 900 rows are answered rightly" in words(app)


def test_rates_on_the_page_are_the_command_lines(app, run, capsys):
    """UI, command line and report share one engine; to the last digit they are compared in the tables below."""
    open_page(app, "pages/trust/fairness.py")
    document = command_line(capsys, run, "--by", "race,age", "--no-aif360")
    wanted = sorted(c["accuracy"]["value"] for c in document["cells"] if c["accuracy"]["n"] >= 30)

    drawn = re.findall(r"\n([\d.]{8}), 95 % interval [\d.]{8} to [\d.]{8}\nn = ", rows_of(app))
    assert [f"{value:.6f}" for value in wanted] == sorted(drawn)


def test_tables_on_the_page_are_the_command_lines_to_the_last_digit(app, run, capsys):
    """Also the intervals, the gaps and their null bands, as the download holds them."""
    open_page(app, "pages/trust/fairness.py")
    assert not list(app.dataframe)  # nothing is made before it is asked for
    open_tables(app, "gaps_race_age", "rates_race_age")
    document = command_line(capsys, run, "--by", "race,age", "--no-aif360")
    tables = [d.value for d in app.dataframe]

    [gaps] = [t for t in tables if "null_high" in t]
    for row, said in zip(gaps.to_dict("records"), document["gaps"], strict=True):
        for key in ("value", "low", "high", "null_mean", "null_high", "p_holm"):
            assert (said[key] is None and np.isnan(row[key])) or said[key] == row[key]
    [cells] = [t for t in tables if "accuracy_low" in t and "race" in t]
    for row, said in zip(cells.to_dict("records"), document["cells"], strict=True):
        assert [said["accuracy"][k] for k in ("value", "low", "high", "n")] == [
            row["accuracy"], row["accuracy_low"], row["accuracy_high"], row["accuracy_n"],
        ]  # fmt: skip


def same(said: dict, row: dict, keys) -> None:
    """A row of the page and its entry of the document agree to the last digit; unknown is NaN here and null there."""
    for key in keys:
        mine = row[key]
        unknown = isinstance(mine, float) and not np.isfinite(mine)
        assert said[key] is None if unknown else said[key] == mine, key


@pytest.mark.parametrize("options", [{}, {"outcome": "Male"}, {"outcome": "Male", "where_age": "20-29"}])
def test_every_table_of_the_page_is_the_documents_to_the_last_digit(app, run, capsys, options, monkeypatch):
    """All rates of all cells, gaps, pairs and planner: what the page downloads is what ``--json`` says."""
    from visrec.audit.rates import RATES
    from visrec.ui import widgets

    kept = {}
    monkeypatch.setattr(widgets, "download_csv", lambda frame, name: kept.update({name: frame}))
    asked = ["--by", "race,age", "--no-aif360"]
    asked += ["--outcome", options["outcome"]] if "outcome" in options else []
    asked += ["--where", "age=20-29"] if "where_age" in options else []
    document = command_line(capsys, run, *asked)
    open_tables(open_page(app, PAGES[2], by=["race", "age"], **options), "gaps_race_age", "rates_race_age")
    for section in ("Pairs", "Images needed"):
        app.session_state["section"] = section
        app.run()
        assert not app.error

    for row, said in zip(kept["rates_race_age"].to_dict("records"), document["cells"], strict=True):
        same(said, row, ["race", "age", "n", "absent", "enough", "base_rate"])
        for rate in RATES:
            flat = {"value": row[rate]} | {end: row[f"{rate}_{end}"] for end in ("low", "high", "n")}
            same(said[rate], flat, ["value", "low", "high", "n"])
    for row, said in zip(kept["gaps_race_age"].to_dict("records"), document["gaps"], strict=True):
        same(said, row, set(said) - {"sentence"})
    for row, said in zip(kept["pairs_race_age"].to_dict("records"), document["pairs"], strict=True):
        same(said, row, set(said))
    rates = sorted({s["rate"] for s in document["planner"]})
    assert (len(rates) > 1) == ("outcome" in options)
    for rate in rates:
        app.session_state["plan_rate"] = rate
        app.run()
        assert not app.error
        planned = [s for s in document["planner"] if s["rate"] == rate]
        mine = {row["cell"]: row for row in kept[f"planner_{rate}"].to_dict("records")}
        assert len(planned) == len(mine)
        for said in planned:
            same(said, mine[said["cell"]], set(said))


@pytest.mark.slow
def test_aif360_on_the_page_is_the_command_lines_to_the_last_digit(app, run, capsys, monkeypatch):
    """Values, intervals, null bands, p and verdicts, and each group against the rest; slow: it imports AIF360."""
    from visrec.ui import widgets

    kept = {}
    monkeypatch.setattr(widgets, "download_csv", lambda frame, name: kept.update({name: frame}))
    open_page(app, "pages/trust/fairness.py", section="AIF360 metrics", outcome="Male", privileged="White")
    options = ("--by", "race,age", "--outcome", "Male", "--privileged", "race=White")
    document = command_line(capsys, run, *options)

    assert not app.error
    [shown] = [d.value for d in app.dataframe if "Name in AIF360" in d.value]
    assert len(shown) > 20
    for name, why in document["aif360_left_out"].items():  # what AIF360 has and the table has not is said with it
        assert f"{name.replace('_', ' ')} ({why})" in words(app)
    table = kept["aif360_race_White"]
    assert len(table) == len(document["aif360"])
    for row in table.to_dict("records"):
        said = document["aif360"][row["metric"]]
        same(said, row, set(said) - {"band", "sentence"})
    app.session_state["aif360_groups"] = True
    open_tables(app, "aif360_groups")
    for row, said in zip(kept["aif360_groups"].to_dict("records"), document["aif360_groups"], strict=True):
        same(said, row, set(said))


def test_matrices_on_the_page_are_the_audits(app, run):
    """Every square's count."""
    open_tables(open_page(app, "pages/trust/confusion.py"), "confusion")
    [table] = [d.value for d in app.dataframe if "share_of_row" in d.value]

    for key, matrix in direct(run, by=["race", "age"]).confusion().items():
        mine = table[(table["race"] == key[0]) & (table["age"] == key[1])]
        assert matrix.ravel().tolist() == mine["count"].tolist()


def test_overview_finds_the_group_that_was_planted(app, run):
    """The drawn model is wrong three times as often about one race; split by race, that is the headline."""
    open_page(app, PAGES[0], by="race")

    assert "Worst supported group: Black" in words(app)
    assert "Largest supported gap" in words(app)


def test_small_group_is_unknown_everywhere(app, run):
    """Groups below the minimum count take no colour at all, however right their answers are."""
    open_page(app, "pages/trust/confusion.py", min_count="400", by="race")

    assert "3 groups of 3 with fewer than 400 rows" in words(app)
    [grid] = [f for f in figures(app) if any(t["type"] == "heatmap" for t in f["data"])][1:]
    assert np.isnan(np.array(grid["data"][0]["z"], dtype=float)).all()


def test_square_in_the_url_opens_its_gallery(app, run):
    """A bookmark leads to exactly those images."""
    open_page(app, "pages/trust/confusion.py", by="race", square="Black|Male|Female")
    frame = run.predictions()
    wanted = frame[(frame["race"] == "Black") & (frame["label"] == "Male") & (frame["prediction"] == "Female")]

    assert f"{len(wanted)} images" in words(app)
    [table] = [d.value for d in app.dataframe if "file" in d.value and "label" in d.value]
    assert set(wanted["file"]) == set(table["file"])


def test_a_slicer_looks_for_no_run_that_the_page_already_knows(app, run, monkeypatch):
    """In a bucket, opening a run lists all files of all runs; what the list of two seconds ago says is enough."""
    from visrec.runs.record import Runs

    open_page(app, PAGES[2], run=run.id)
    monkeypatch.setattr(Runs, "open", lambda self, name: pytest.fail("the runs were listed again"))
    app.sidebar.number_input[0].set_value(7).run()
    assert not app.exception
    assert not app.error
    assert app.session_state["min_count"] == 7


def test_filters_reach_the_figures(app, run):
    """A slicer of the sidebar cuts the audited rows."""
    open_tables(open_page(app, "pages/trust/fairness.py", where_race="White", by="age"), "rates_age")
    document = direct(run, by=["age"], where={"race": ["White"]}).to_json(aif360=False)

    [cells] = [d.value for d in app.dataframe if "accuracy_low" in d.value]
    assert [c["accuracy"]["value"] for c in document["cells"]] == cells["accuracy"].tolist()


@pytest.mark.parametrize("section", ["Pairs", "Images needed", "Scores"])
def test_sections_open(app, run, section):
    """Each section of the Metrics page draws its table for a class as outcome."""
    open_page(app, "pages/trust/fairness.py", section=section, outcome="Male")

    assert not app.exception
    assert not app.error
    assert app.dataframe or figures(app)


def test_aif360_is_not_imported_for_the_other_sections(app, run):
    """It costs seconds; only its own section may ask for it."""
    import sys

    before = "aif360" in sys.modules
    open_page(app, "pages/trust/fairness.py")

    assert before == ("aif360" in sys.modules)


def test_threshold_recounts_every_row(app, run):
    """At the threshold 0 everybody is answered with the class: TPR and FPR are 1."""
    from visrec.audit.thresholds import table_at

    scores = direct(run, by=["race"], outcome="Male").scores()
    everybody, half = table_at(scores, 0.0, "Male"), table_at(scores, 0.5, "Male")

    assert 0 == everybody.counts[:, :, 0].sum()
    frame = run.predictions()
    black = frame[frame["race"] == "Black"]
    answered = (black["score:Male"] >= 0.5).sum()
    assert answered == half.counts[half.keys.index(("Black",)), :, 1].sum()
    assert len(frame) == half.counts.sum()


def test_a_run_without_scores_says_what_is_missing(places, app):
    """No thresholds without scores: the section says which column to bring."""
    from tests.pages.conftest import drawn_predictions, make_run

    run = make_run(places)
    run.write_table("predictions.parquet", drawn_predictions().drop(columns=["score:Female", "score:Male"]))
    open_page(app, PAGES[2], section="Scores")

    assert any("No scores" in s.value for s in app.subheader)


def test_a_group_with_a_threshold_of_its_own_is_counted_at_it(app, run, monkeypatch):
    """Thresholds by hand, one for all and one of its own, all in the address; the counts are the engine's."""
    from visrec.audit.engine import cell_frame
    from visrec.audit.gaps import gap_table
    from visrec.audit.thresholds import table_at
    from visrec.ui import widgets

    kept = {}
    monkeypatch.setattr(widgets, "download_csv", lambda frame, name: kept.update({name: frame}))
    address = {"threshold": "0.6", "own_threshold": "Black", "threshold_Black": "0.4"}
    open_page(app, PAGES[2], section="Scores", by="race", outcome="Male", **address)
    open_tables(app, "gaps_at_threshold", "rates_at_threshold")
    found = direct(run, by=["race"], outcome="Male")
    table = table_at(found.scores(), [0.4, 0.6, 0.6], "Male")

    assert not app.exception
    assert not app.error
    assert [0.4, 0.6, 0.6] == kept["rates_at_threshold"]["threshold"].tolist()
    assert cell_frame(table, found.question)["tpr"].tolist() == kept["rates_at_threshold"]["tpr"].tolist()
    gaps = gap_table(table, found.question)
    assert gaps["verdict"].tolist() == kept["gaps_at_threshold"]["verdict"].tolist()
    assert gaps["p_holm"].tolist() == kept["gaps_at_threshold"]["p_holm"].tolist()


def test_a_threshold_that_was_searched_can_be_put_on_the_sliders(app, run):
    """The search says a number; one press and the page shows what it does, cross-fitting beside it."""
    open_page(app, PAGES[2], section="Scores", by="race", outcome="Male", threshold_search="true", search_each="true")
    app.button(key="threshold_use").click().run()

    assert not app.exception
    assert ["Black", "East Asian", "White"] == app.multiselect(key="own_threshold").value
    from visrec.audit.thresholds import choose

    found = direct(run, by=["race"], outcome="Male")
    wanted = choose(found.scores(), found.question, "tpr", per_cell=True).thresholds
    shown = [app.slider(key=f"threshold_{name}").value for name in ("Black", "East Asian", "White")]
    assert wanted.tolist() == shown
    assert "Verdict on the gap that is left, cross-fitted" in words(app)


def test_a_gap_that_nothing_rests_on_is_unknown_after_the_search(places, app):
    """Every label is Male, so nobody can be answered so wrongly: the FPR has no verdict, and the page stands."""
    run = make_run(places)
    run.write_table("predictions.parquet", run.predictions().assign(label="Male"))
    open_page(app, PAGES[2], section="Scores", by="race", outcome="Male", threshold_search="true")
    app.selectbox(key="search_rate").set_value("fpr").run()

    assert not app.exception
    assert "cross-fitted: **unknown, no row has the label that this rate rests on**" in words(app)


def test_the_family_named_under_a_gap_chart_is_that_of_its_table(app, run):
    """By race alone the verdicts are a family of their own."""
    open_page(app, PAGES[2], by="race,age", gaps_over="race")

    assert "by race. Holm" in words(app)
    assert "by race and age. Holm" not in words(app)


def test_recalibration_is_shown_cross_fitted(app, run):
    """What the page says of recalibration is the engine's cross-fitted figure."""
    open_page(app, PAGES[2], section="Scores", by="race", outcome="Male", recalibrate="true")
    found = direct(run, by=["race"], outcome="Male").recalibration
    whole = float((found["brier_one"] * found["n"] / found["n"].sum()).sum())

    assert not app.exception
    [metric] = [m for m in app.metric if m.label == "Brier, one curve"]
    assert f"{whole:.3f}" == metric.value
    assert "every row's new score comes from a curve that was fitted without it" in words(app)


@pytest.mark.parametrize("section", ["AIF360 metrics", "Scores"])
def test_a_slice_without_any_prediction_says_so(places, app, section):
    """The model answered no image of one group: nothing to measure there, and no fault."""
    from tests.pages.conftest import drawn_predictions, make_run

    run = make_run(places)
    rows = drawn_predictions()
    rows.loc[rows["race"] == "White", ["prediction", "score:Female", "score:Male"]] = None
    run.write_table("predictions.parquet", rows)
    open_page(app, PAGES[2], section=section, outcome="Male", where_race="White")

    assert not app.exception
    assert not app.error
    assert any("No prediction here" in s.value for s in app.subheader)
