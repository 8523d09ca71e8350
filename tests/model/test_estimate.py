"""The estimate: grows with the work, learns from past runs of this machine, and probes where there are none."""

import pytest

from visrec.config import Settings, TrainConfig
from visrec.model import estimate
from visrec.model.estimate import factors, for_settings, probe, reference
from visrec.runs.record import open_runs

CONFIG = TrainConfig("b", image_size=128, alpha=1.0, epochs=100, fine_tune_epochs=4, weights="imagenet")
COUNTS = {"train": 9000, "tune": 1000, "val": 3000}


def record(slower: float, host: str = "here", **seconds) -> dict:
    """A finished run whose every stage took ``slower`` times the reference."""
    took = {s: slower * value + estimate.SET_UP.get(s, 0) for s, value in reference(CONFIG, COUNTS).items()} | seconds
    settings = {"bucket": "b", "image_size": 128, "alpha": 1.0, "epochs": 100, "fine_tune_epochs": 4}
    return {
        "kind": "trained", "metrics": {"val_accuracy": {}}, "lineage": {"host": host}, "samples": COUNTS,
        "settings": {**settings, "weights": "imagenet"}, "seconds": took,
    }  # fmt: skip


@pytest.mark.parametrize(("change", "times"), [({"fine_tune_epochs": 8}, 2), ({"image_size": 256}, 4)])
def test_fine_tuning_takes_as_much_longer_as_there_is_more_to_do(change, times):
    """Twice the passes, twice the time; twice the side, four times."""
    import dataclasses

    more = reference(dataclasses.replace(CONFIG, **change), COUNTS)["fine_tune"]

    assert times == pytest.approx(more / reference(CONFIG, COUNTS)["fine_tune"])


def test_past_runs_of_this_machine_speak_for_the_next():
    """A machine three times as slow gives an estimate three times as long; another machine's runs say nothing."""
    past = factors([record(3.0), record(9.0, host="there")], "here")
    found = estimate.estimate(CONFIG, COUNTS, past)

    assert "past runs" == found.basis
    for stage, seconds in reference(CONFIG, COUNTS).items():
        expected = 3.0 * seconds + estimate.SET_UP.get(stage, 0)
        assert expected == pytest.approx(found.stages[stage], rel=0.05, abs=0.1)


def test_one_odd_run_does_not_spoil_the_estimate():
    """Prepared pixels that were reused took no time: the median of the newest runs counts."""
    past = factors([record(1.0, prepare=0.01), record(1.0), record(1.0)], "here")

    assert 1.0 == pytest.approx(past["prepare"])


def test_a_run_that_answers_from_both_sides_is_measured_by_both():
    """Else every estimate of a prediction would be twice too long after the first such run."""
    settings = {"bucket": "b", "image_size": 128, "alpha": 1.0, "epochs": 10, "fine_tune_epochs": 1, "mirror": True}
    config, counts = TrainConfig(**settings, weights="imagenet"), {"train": 9000, "tune": 1000, "val": 3000}
    took = {s: v + estimate.SET_UP.get(s, 0.0) for s, v in estimate.reference(config, counts).items()}
    past = {"samples": counts, "seconds": took, "settings": {**settings, "weights": "imagenet"}}

    assert {1.0} == set(estimate.factors([{"lineage": {"host": "here"}, **past}], "here").values())


def test_work_that_a_run_found_done_says_nothing_of_the_machine():
    """Images prepared for an earlier run take no time, and would promise that of the next bucket none."""
    settings = {"bucket": "b", "image_size": 128, "alpha": 1.0, "fine_tune_epochs": 1, "weights": "none"}
    past = {"samples": {"train": 9000}, "seconds": {"prepare": 0.1, "fine_tune": 90.0}, "settings": settings}

    assert {"fine_tune"} == set(estimate.factors([{"lineage": {"host": "here"}, **past}], "here"))


def test_a_run_that_was_resumed_says_nothing_of_the_machine():
    """Parts of its stages were done twice, or found done: its seconds are its own."""
    assert {} == factors([{**record(9.0), "resumed": 1}], "here")


def test_stages_that_will_not_run_take_no_time():
    """Without fine-tuning there is no such stage; from random weights there are no stored features."""
    head = TrainConfig("b", image_size=96, alpha=0.35, epochs=10, fine_tune_epochs=0, weights="imagenet")
    scratch = TrainConfig("b", image_size=96, alpha=0.35, epochs=10, fine_tune_epochs=2, weights="none")

    assert "fine_tune" not in reference(head, COUNTS)
    assert "features" not in reference(scratch, COUNTS)


def test_the_probe_is_short_and_its_answer_is_kept(tmp_path):
    """Three seconds at most, once per machine; an estimate without past runs says that it rests on it."""
    settings = Settings(runs=str(tmp_path / "runs"), cache=tmp_path / "cache")
    found = for_settings(CONFIG, COUNTS, settings)

    assert "a probe" == found.basis
    assert found.seconds > 60
    [kept] = (tmp_path / "cache").glob("speed-*.json")
    kept.write_text('{"slower": 7.0}')
    assert for_settings(CONFIG, COUNTS, settings).stages["fine_tune"] == pytest.approx(
        7 * reference(CONFIG, COUNTS)["fine_tune"], rel=0.02
    )
    now = iter(range(100))
    assert probe(seconds=5, clock=lambda: float(next(now))) > 0


def test_runs_that_cannot_be_read_are_passed_over(tmp_path):
    """A damaged record must not keep anybody from starting a run."""
    settings = Settings(runs=str(tmp_path / "runs"), cache=tmp_path / "cache")
    runs = open_runs(settings)
    runs.create({"kind": "trained"}, "damaged").store.write("run.json", b"{")
    runs.create(record(1.0), "whole")

    assert 1 == len(estimate.past_records(settings))
