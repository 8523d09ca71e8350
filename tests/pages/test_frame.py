"""What every page has, whatever it is about: its place, its sentence, its run, and no traceback."""

import pytest

from tests.pages.conftest import make_run
from visrec.errors import OutsideError
from visrec.ui import cached, navigation

PAGES = [
    navigation.path_of(name) for pages in navigation.PAGES.values() for name, _, _ in pages if navigation.exists(name)
]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_which_question_it_answers(app, page):
    """A title and one bold sentence, with no bucket and no run anywhere: an empty state is a page too."""
    app.run()
    app.switch_page(page).run()

    assert not app.exception
    assert not app.error
    assert 1 == len(app.title)
    assert app.markdown[0].value.startswith("**")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_draws_with_a_run(app, run, page):
    """The same with a finished run in focus."""
    app.run()
    app.switch_page(page).run()

    assert not app.exception
    assert not app.error


def test_start_leads_to_the_bucket_without_a_run_and_to_the_overview_with_one(app, places):
    """The first thing a newcomer sees is what to do; the first thing an auditor sees is the finding."""
    assert "Bucket" == app.run().title[0].value

    make_run(places)
    cached.forget_runs()
    from streamlit.testing.v1 import AppTest

    again = AppTest.from_file(str(navigation.ROOT / "app.py"), default_timeout=60).run()
    assert "Overview" == again.title[0].value


def test_run_in_focus_is_always_in_the_url(app, run):
    """A copied address shows the same run tomorrow, even when a newer one exists by then."""
    app.run()

    assert run.id == app.query_params["run"]


def test_unknown_run_in_the_url_is_named(app, run):
    """A mistyped or deleted run is no error page: another is shown, and it says so."""
    app.query_params["run"] = "20990101-nobody"
    app.switch_page("pages/build/runs.py").run()

    assert not app.error
    assert any("no run named '20990101-nobody'" in w.value for w in app.warning)


def test_slice_is_kept_from_page_to_page(app, run):
    """Whoever looks at one group stays with it."""
    app.run()
    app.switch_page("pages/trust/overview.py").run()
    app.multiselect(key="where_race").select("White").run()
    app.switch_page("pages/build/runs.py").run()
    app.switch_page("pages/trust/confusion.py").run()

    assert ["White"] == app.multiselect(key="where_race").value
    assert any("race White" in m.value for m in app.markdown)


def test_slice_without_rows_offers_to_remove_the_filters(app, run):
    """Two filters that exclude each other leave nothing to draw; one button leads back."""
    frame = run.predictions()
    run.write_table("predictions.parquet", frame[(frame["race"] != "White") | (frame["age"] == "20-29")])
    app.run()
    app.switch_page("pages/trust/overview.py").run()
    app.multiselect(key="where_race").select("White")
    app.multiselect(key="where_age").select("3-9").run()

    assert any("No rows left" in s.value for s in app.subheader)
    next(b for b in app.button if b.label == "Remove the filters").click().run()
    assert [] == app.multiselect(key="where_race").value


def test_fault_of_ours_shows_a_reference_and_no_traceback(app, run, monkeypatch):
    """The visitor reads a sentence, the log has the rest under the same reference."""

    def broken(*args, **kwargs):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("visrec.ui.runs_view.choose", broken)
    app.run()
    app.switch_page("pages/build/runs.py").run()

    assert not app.exception
    [error] = app.error
    assert "reference" in error.value
    assert "secret detail" not in error.value


def test_missing_library_is_named_with_its_remedy(app, run, monkeypatch):
    """The fairness pages work without TensorFlow; a page that needs it says what to install."""

    def missing(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr("visrec.ui.runs_view.choose", missing)
    app.run()
    app.switch_page("pages/build/runs.py").run()

    [error] = app.error
    assert "'tensorflow' is not installed" in error.value
    assert "pip install" in error.value


def test_store_that_cannot_be_reached_offers_to_try_again(app, run, monkeypatch):
    """Something outside failed: a sentence, and a button."""

    def refused(*args, **kwargs):
        raise OutsideError("The store at https://cos.example does not answer.")

    monkeypatch.setattr("visrec.ui.runs_view.choose", refused)
    app.run()
    app.switch_page("pages/build/runs.py").run()

    assert ["The store at https://cos.example does not answer."] == [e.value for e in app.error]
    assert any(b.label == "Try again" for b in app.button)


def test_notice_says_that_the_page_is_open_to_all(app):
    """Without a configured login everybody who reaches the port sees everything: it is said, on every page."""
    app.run()

    assert any("open to whoever reaches it" in c.value for c in app.caption)


@pytest.mark.parametrize("page", ["pages/build/train.py", "pages/trust/overview.py"])
def test_configured_login_is_asked_for_before_anything_is_shown(app, run, page):
    """With [auth] in the secrets a stranger sees a button and nothing of any run."""
    app.secrets["auth"] = {
        "redirect_uri": "http://localhost:8501/oauth2callback", "cookie_secret": "x" * 32, "client_id": "id",
        "client_secret": "secret", "server_metadata_url": "https://login.example/.well-known/openid-configuration",
    }  # fmt: skip
    app.run()
    app.switch_page(page).run()

    assert ["Log in"] == [b.label for b in app.button]
    assert not app.selectbox
    assert all("drawn" not in m.value for m in app.markdown)


def test_the_settings_follow_the_environment_at_once(monkeypatch, tmp_path):
    """What was read a moment ago stands only in the same environment."""
    from visrec.ui import cached

    cached.settings()
    monkeypatch.setenv("VISREC_RUNS", str(tmp_path / "elsewhere"))
    assert cached.settings().runs == str(tmp_path / "elsewhere")
