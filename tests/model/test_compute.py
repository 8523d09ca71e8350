"""Devices: which number format and how many GPUs a training takes, and that sharing a batch really trains."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from visrec.model.device import BFLOAT16, FLOAT32, Compute, choose_compute

ROOT = Path(__file__).resolve().parents[2]

TWO_DEVICES = """
import json, os, sys
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import tensorflow as tf
[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np, pandas as pd
from pathlib import Path
from visrec.model import checkpoint, device, fine_tune, mobilenet
from visrec.model.watch import Watch
from visrec.runs.record import Runs
from visrec.runs.reporter import Cancelled, Reporter
from visrec.storage.folder import FolderStore

rng = np.random.default_rng(0)
labels = np.arange(43) % 2
images = (rng.integers(0, 120, (43, 32, 32, 3)) + 120 * labels[:, None, None, None]).astype(np.uint8)
data = fine_tune.Data(images, labels, np.ones(43, np.float32), np.arange(32), np.arange(32, 43), 2)
seen = {}


class Stopping(Reporter):
    stop_at, steps = None, 0

    def advance(self, *args, **kwargs):
        self.steps += 1
        if self.steps == self.stop_at:
            self.ask_to_stop()
        super().advance(*args, **kwargs)


def train(name, stop_at=None):
    runs = Runs(FolderStore(Path(sys.argv[1]) / name, create=True), Path(sys.argv[1]) / "cache")
    run = runs.list()[0] if runs.ids() else runs.create({"kind": "trained"})
    with device.placed(device.Compute(sys.argv[2], ("CPU:0", "CPU:1"))):
        model = mobilenet.build(32, 2, 0.35, weights=mobilenet.Weights(None, ""))
        seen.update(policy=model.get_layer("backbone").layers[1].dtype_policy.name,
                    replicas=tf.distribute.get_strategy().num_replicas_in_sync)
        with Stopping(run) as reporter:
            reporter.stop_at = stop_at
            reporter.stage("fine_tune", "Training.")
            fine_tune.fine_tune(
                model, data, epochs=3, batch_size=8, seed=0, recipe=fine_tune.FROM_SCRATCH, run=run, reporter=reporter,
                watch=Watch(pd.DataFrame({"race": ["x"] * 11}), ["race"]),
            )
    plain = mobilenet.build(32, 2, 0.35, weights=mobilenet.Weights(None, ""))
    plain.set_weights(model.get_weights())
    return plain, run.history()


whole, history = train("whole")
try:
    train("cut", stop_at=6)
except Cancelled:
    seen["cut"] = True
resumed, again = train("cut")
answers = [np.asarray(m.predict_on_batch(images.astype(np.float32))) for m in (whole, resumed)]
seen.update(
    loss=history["loss"].tolist(), epochs=len(again), kept=whole.get_layer("backbone").layers[1].dtype_policy.name,
    apart=float(np.abs(answers[0] - answers[1]).max()), shape=list(answers[0].shape),
)
print(json.dumps(seen))
"""


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ([], Compute(FLOAT32)),
        ([(6, 1)], Compute(FLOAT32, ("GPU:0",))),
        ([(7, 5)], Compute(FLOAT32, ("GPU:0",))),
        ([(9, 0)] * 4, Compute(BFLOAT16, ("GPU:0", "GPU:1", "GPU:2", "GPU:3"))),
        ([(9, 0), (7, 0)], Compute(FLOAT32, ("GPU:0", "GPU:1"))),
    ],
)
def test_all_gpus_train_in_the_format_that_the_weakest_is_fast_at(gpus, expected):
    """Decided from what the cards are, never from a timing, so that the same machine always decides the same."""
    assert expected == choose_compute(gpus)


def test_a_resumed_run_keeps_its_number_format():
    """Half of a training in one format and half in another would be a third training."""
    assert BFLOAT16 == choose_compute([], policy=BFLOAT16).policy
    assert FLOAT32 == choose_compute([(9, 0)], policy=FLOAT32).policy


def test_several_gpus_are_tensorflows_strategy_alone():
    """On JAX one GPU trains; keras.distribution is for several nodes."""
    assert ("GPU:0",) == choose_compute([(9, 0)] * 2, backend="jax").devices


@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN is in TensorFlow's wheels for x86-64")
@pytest.mark.parametrize(("asked", "expected"), [(None, True), ("0", False)])
def test_a_cpu_trains_with_onednn_unless_the_user_says_no(asked, expected):
    """TensorFlow by itself leaves it out on processors without AVX512-VNNI, where a step then takes twice as long."""
    told = "from tensorflow.python.framework.test_util import IsMklEnabled; print(IsMklEnabled())"
    code = f"from visrec.model import device; device.make_ready(); {told}"
    names = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    names |= {"TF_ENABLE_ONEDNN_OPTS": asked} if asked else {}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=names)
    assert str(expected) == done.stdout.strip(), done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("policy", [FLOAT32, BFLOAT16])
def test_two_devices_share_each_batch_and_a_stopped_training_goes_on(policy, tmp_path):
    """`MirroredStrategy` for real, on two virtual devices: it learns, resumes, and leaves a plain float32 model."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(tmp_path), policy], capture_output=True, text=True, cwd=ROOT
    )
    assert 0 == done.returncode, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])

    assert (policy, 2, True, 3) == (seen["policy"], seen["replicas"], seen["cut"], seen["epochs"])
    assert min(seen["loss"][1:]) < seen["loss"][0]
    assert (FLOAT32, [43, 2]) == (seen["kept"], seen["shape"])
    assert seen["apart"] < 1e-3  # the order in which replicas are added up is not fixed
