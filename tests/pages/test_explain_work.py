"""What the Explain page computes on request, with progress and a way to stop, and hands over as files."""

import contextlib
import json

from sending import photo, send, texts

PAGE = "pages/trust/explain.py"


def test_second_opinion_comes_on_request_beside_lime(tiny_app):
    """Occlusion's map and how many of its superpixels are LIME's, with what chance would give."""
    send(tiny_app, "me.png", photo())
    assert "are the same as" not in texts(tiny_app)
    tiny_app.segmented_control(key="explain_second").set_value("occlusion").run()

    assert not tiny_app.error
    assert "are the same as" in texts(tiny_app)
    assert "by chance" in texts(tiny_app)


def test_the_sanity_check_comes_on_request(tiny_app):
    """Explaining a copy without its weights tells whether the map was learnt."""
    send(tiny_app, "me.png", photo())
    assert "weights thrown away" not in texts(tiny_app)

    tiny_app.button(key="explain_sanity").click().run()

    assert not tiny_app.exception
    assert "weights thrown away" in texts(tiny_app)


def test_download_is_the_document_of_the_command(tiny_app, tiny_run):
    """Page and command line hand over the same keys and numbers."""
    from visrec.explain.document import to_document
    from visrec.ui import explaining

    send(tiny_app, "me.png", photo())
    [kept] = tiny_app.session_state["_explanations"].values()
    image = explaining.picture(photo(), "me.png", 48)
    found = json.loads(explaining.as_json(tiny_run.id, image, kept, tiny_run.labels()))

    expected = json.loads(json.dumps(to_document(kept, tiny_run.labels())))
    assert {key: found[key] for key in expected} == expected
    assert {"run", "file", "sha256"} == set(found) - set(expected)


def test_the_download_is_of_the_class_that_is_shown(tiny_app, monkeypatch):
    """After a switch of the class, name, weights and badge in the JSON are of the same one."""
    from visrec.ui import explaining

    handed, made = [], explaining.as_json
    monkeypatch.setattr(explaining, "as_json", lambda *args: handed.append(made(*args)) or handed[-1])
    monkeypatch.setattr("visrec.ui.explain_view_overlay.QUICK", 1e9)  # the badge comes unasked
    send(tiny_app, "me.png", photo())
    [choice] = [s for s in tiny_app.selectbox if s.label == "Why, or why not"]
    other = 1 - choice.value
    choice.set_value(other).run()

    found = json.loads(handed[-1])
    labels = ["neutral", "smiling"]
    [kept] = tiny_app.session_state["_explanations"].values()
    badges = {key[-1]: badge for key, badge in tiny_app.session_state["_badges"].items()}
    assert labels[other] == found["class"]
    assert found["weights"] == kept.weights[other].tolist()
    assert found["badge"]["r2"] == badges[other].r2 == found["r2"][labels[other]]


def test_longer_work_moves_a_bar(tiny_app, monkeypatch):
    """Badge, sanity check and second opinion tell how far they are: drawing the bar is what lets a rerun end them."""
    moved = []

    send(tiny_app, "me.png", photo())
    monkeypatch.setattr("visrec.ui.explain_view_overlay._bar", lambda text: contextlib.nullcontext(
        lambda done, total: moved.append((text, done / total))
    ))  # fmt: skip
    tiny_app.button(key="explain_sanity").click().run()
    tiny_app.segmented_control(key="explain_second").set_value("occlusion").run()
    [choice] = [s for s in tiny_app.selectbox if s.label == "Why, or why not"]
    monkeypatch.setattr("visrec.ui.explain_view_overlay.QUICK", 0)
    choice.set_value(1 - choice.value).run()
    tiny_app.button(key="explain_judge").click().run()

    assert not tiny_app.error
    for text in ("Explaining the copy without weights", "Asking by Occlusion", "Checking whether it can be believed"):
        assert [1.0] == [share for said, share in moved if said == text][-1:], text


def test_a_second_opinion_that_cannot_be_had_is_not_asked_for_again_and_again(tiny_app, monkeypatch):
    """The page computes what the overlay asks for; when nothing comes of it, that is said once."""
    from visrec.ui import explaining

    send(tiny_app, "me.png", photo())
    calls = []
    monkeypatch.setattr(explaining, "second_opinion", lambda *args, **_: calls.append(args[3]))
    tiny_app.segmented_control(key="explain_second").set_value("occlusion").run()
    tiny_app.run()

    assert ["occlusion"] == calls
    assert "could not be had" in texts(tiny_app)


def test_stopping_a_second_opinion_takes_the_choice_back(monkeypatch):
    """Else the drawing of the page that the button begins would ask for it anew."""
    from visrec.ui import explain_view_overlay as view

    session = {"explain_second": "occlusion"}
    monkeypatch.setattr(view.st, "session_state", session)
    view._stop_work("occlusion")

    assert {"explain_second": None} == session


def test_a_failed_sanity_check_is_the_badge(tiny_app, monkeypatch):
    """One verdict on the page: not green above "do not use it"."""
    from visrec.explain import sanity

    monkeypatch.setattr("visrec.ui.explain_view_overlay.QUICK", 1e9)
    monkeypatch.setattr(sanity, "check_sanity", lambda *_, **__: sanity.Sanity(0.93, False, "Do not use it."))
    send(tiny_app, "me.png", photo())
    tiny_app.button(key="explain_sanity").click().run()

    [badge] = [m.value for m in tiny_app.markdown if "-badge[" in m.value]
    assert "do not use" in badge
    assert "not what the model learnt" in texts(tiny_app)


def test_stop_when_settled_makes_do_with_fewer_maskings(tiny_app):
    """The switch is a recipe of its own; without it as many as the superpixels need."""
    send(tiny_app, "me.png", photo())
    tiny_app.number_input(key="explain_samples").set_value(20_000)
    tiny_app.toggle(key="explain_settle").set_value(True).run()

    whole, fast = tiny_app.session_state["_explanations"].values()
    assert 1000 == whole.samples
    assert 10 * fast.n_segments <= fast.samples < 20_000
