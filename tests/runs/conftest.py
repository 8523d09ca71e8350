"""Fixtures of the run tests: the S3 server of the storage tests, and a small backbone to begin with."""

import dataclasses
import time

import pytest

from tests.storage.conftest import s3_bucket, s3_server, s3_settings  # noqa: F401
from visrec.config import Settings, TrainConfig


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    """A weights file of MobileNetV2 of width 0.35 without its top, so that a run has every stage and no download."""
    import keras

    path = tmp_path_factory.mktemp("weights") / "small_0.35.weights.h5"
    keras.utils.set_random_seed(5)
    keras.applications.MobileNetV2(input_shape=(48, 48, 3), alpha=0.35, include_top=False, weights=None).save_weights(
        path
    )
    return path


@pytest.fixture
def both_stages(small_weights) -> TrainConfig:
    """A training of seconds that goes through prepare, features, head, fine_tune, predict and export."""
    return TrainConfig(
        "tiny", image_size=48, alpha=0.35, weights=str(small_weights), epochs=20, fine_tune_epochs=3, batch_size=16
    )


@pytest.fixture
def settings(tiny_settings, tmp_path) -> Settings:
    """The tiny bucket, with runs, cache and queue of this test alone."""
    return dataclasses.replace(tiny_settings, runs=str(tmp_path / "runs"), cache=tmp_path / "cache")


@pytest.fixture
def wait_for():
    """A function that waits until a condition holds and gives what it gave; it fails when that never happens."""

    def wait(condition, seconds=300):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.1)
        return found

    return wait
