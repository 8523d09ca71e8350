"""Tables and commands shared by the audit's tests."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from visrec.audit.engine import audit
from visrec.audit.predictions import load_predictions


@pytest.fixture
def run_command(tmp_path):
    """Call visrec in a process of its own, in an empty folder: ``run_command("audit", path, "--json")``."""

    def run(*args):
        return subprocess.run(
            [sys.executable, "-m", "visrec", *map(str, args)], capture_output=True, text=True, check=False, cwd=tmp_path
        )

    return run


@pytest.fixture
def faces():
    """3,000 answers on two classes with scores, race and age; the cell (b, old) is planted worse."""
    rng = np.random.default_rng(7)
    n = 3000
    frame = pd.DataFrame(
        {
            "file": [f"val/{i}.jpg" for i in range(n)],
            "race": rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]),
            "age": rng.choice(["3-9", "10-19", "old"], n),
            "label": rng.choice(["no", "yes"], n),
        }
    )
    hard = (frame["race"] == "b") & (frame["age"] == "old")
    noise = rng.normal(0, np.where(hard, 2.5, 0.9), n)
    score = 1 / (1 + np.exp(-(np.where(frame["label"] == "yes", 1.5, -1.5) + noise)))
    frame["score:no"], frame["score:yes"] = 1 - score, score
    frame["prediction"] = np.where(score >= 0.5, "yes", "no")
    return frame


@pytest.fixture
def result(faces):
    """The faces by race and age, for the class yes."""
    return audit(load_predictions(faces), by="race,age", outcome="yes", replicates=300)
