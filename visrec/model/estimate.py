"""The estimate: how long a training will take, said before it begins.

Each stage's work follows from images, passes, pixels and width; what a unit of work takes on this machine is learnt
from the seconds of past runs here, and where there are none from a short probe of the processor. It is a figure to
plan a coffee by, not a promise: on a busy machine everything takes longer.
"""

import json
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from visrec.config import Settings, TrainConfig
from visrec.model.fine_tune import cuts
from visrec.runs import process

if TYPE_CHECKING:
    from visrec.data.table import BucketTable

STARTING = 10.0
"""Seconds until the libraries are loaded."""
SET_UP = {"features": 3.0, "fine_tune": 9.0, "predict": 2.0}
"""Seconds a stage takes before its first image: building, tracing or converting the network."""
CACHED = ("prepare", "features")
"""Stages whose work a run may find done; its seconds then tell nothing."""
NEWEST = 5
"""So many runs of the past speak for a stage; older ones may be of another code or machine."""
PROBE_SECONDS = 3.0
PROBE_BURST = 0.705e-3
"""Seconds of the quickest `_burst` on the machine on which `reference` was measured (two cores)."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of each stage, and what they rest on: ``past runs`` or ``a probe``."""

    stages: dict[str, float]
    basis: str

    @property
    def seconds(self) -> float:
        """From pressing Start to the finished run."""
        return STARTING + sum(self.stages.values())


def reference(config: TrainConfig, counts: Mapping[str, int]) -> dict[str, float]:
    """Seconds of each stage on two quiet cores (benchmarks/RESULTS.md).

    Parameters
    ----------
    config : complete settings
    counts : images of each split

    Examples
    --------
    >>> config = TrainConfig("b", image_size=128, alpha=1.0, epochs=10, fine_tune_epochs=1, weights="imagenet")
    >>> found = reference(config, {"train": 11_800, "val": 3_000})
    >>> round(found["fine_tune"]), "features" in found
    (115, True)
    """
    passes = config.fine_tune_epochs or 0
    learnt, tuned = counts.get("train", 0), counts.get("tune", 0)
    images = sum(counts.values())
    cost = (config.image_size / 128) ** 2 * (0.45 + 0.55 * config.alpha)
    stages = {"prepare": (images + (learnt if cuts(config) else 0)) / 1500}
    if config.weights != "none" or not passes:
        seen = learnt + tuned if passes else images
        stages["features"] = seen / 700 * cost
        stages["head"] = (config.epochs or 0) * seen / (60_000 if passes else 20_000)
    if passes:
        stages["fine_tune"] = passes * (learnt / 118 + tuned / 350) * cost * 1.15
    sides = 2 if passes and config.mirror else 1
    stages["predict"] = sides * images / 700 * cost if passes else 0.1
    stages["export"] = 6.0
    return stages


def factors(records: Iterable[Mapping[str, Any]], host: str) -> dict[str, float]:
    """How much slower (above 1) than the reference each stage ran in the newest runs on a host.

    A run that was resumed says nothing: parts of its stages were done twice, or found done.

    >>> run = {"lineage": {"host": "a"}, "samples": {"train": 1180}, "seconds": {"fine_tune": 32.0},
    ...        "settings": {"bucket": "b", "image_size": 128, "alpha": 1.0, "fine_tune_epochs": 1, "weights": "none"}}
    >>> factors([run], "a")
    {'fine_tune': 2.0}
    >>> factors([run], "another")
    {}
    """
    known: dict[str, list[float]] = {}
    for record in records:
        here = (record.get("lineage") or {}).get("host") == host
        if not here or not record.get("seconds") or record.get("resumed"):
            continue
        for stage, expected in reference(_config(record["settings"]), record.get("samples") or {}).items():
            took, before = record["seconds"].get(stage), known.setdefault(stage, [])
            if not took or (stage in CACHED and took < 0.05 * expected):
                continue
            if expected >= 1.0 and len(before) < NEWEST:
                before.append(min(50.0, max(0.02, (took - SET_UP.get(stage, 0.0)) / expected)))
    return {stage: round(statistics.median(found), 3) for stage, found in known.items() if found}


def estimate(
    config: TrainConfig, counts: Mapping[str, int], past: Mapping[str, float], slower: float = 1.0
) -> Estimate:
    """Seconds of each stage: by past runs where they tell, else by how much ``slower`` the processor is.

    >>> config = TrainConfig("b", image_size=128, alpha=1.0, epochs=0, fine_tune_epochs=1, weights="none")
    >>> one, two = (estimate(config, {"train": n}, {"fine_tune": 2.0}).stages["fine_tune"] for n in (1180, 2360))
    >>> one, two  # twice 11.5 s for each 1,180 images, and 9 s of setting up
    (32.0, 55.0)
    """
    typical = statistics.median(past.values()) if past else slower
    expected = reference(config, counts)
    stages = {s: SET_UP.get(s, 0.0) + value * past.get(s, typical) for s, value in expected.items()}
    return Estimate({s: round(v, 1) for s, v in stages.items()}, "past runs" if past else "a probe")


def split_counts(table: "BucketTable", limit: int | None) -> dict[str, int]:
    """About how many images each split will have, from the labels alone (`visrec.data.split` settles it)."""
    found = table.samples["split"].value_counts()
    total = len(table.samples)
    learnt, judged = int(found.get("train", 0)), int(found.get("val", 0) + found.get("test", 0))
    if not learnt or not judged:
        learnt, judged = round(0.8 * total), total - round(0.8 * total)
    if limit and limit < learnt:
        learnt, judged = limit, min(judged, limit // 3)
    return {"train": learnt - learnt // 10, "tune": learnt // 10, "val": judged}


def for_settings(
    config: TrainConfig, counts: Mapping[str, int], settings: Settings, *, may_probe: bool = True
) -> Estimate:
    """The estimate on this machine, from the runs there are; probes the processor once if there are none."""
    return estimate(config, counts, *speed(settings, may_probe=may_probe))


def speed(settings: Settings, *, may_probe: bool = True) -> tuple[dict[str, float], float]:
    """What `estimate` needs to know of this machine: the factors of past runs, else that of the probe."""
    past = factors(past_records(settings), process.host())
    return past, 1.0 if past else _slower(settings, may_probe)


def past_records(settings: Settings, most: int = 20) -> list[dict[str, Any]]:
    """Records of the newest finished trainings."""
    from visrec.errors import VisrecError
    from visrec.runs.record import open_runs

    found = []
    for run in open_runs(settings).list()[:most]:
        try:
            record = run.record
        except VisrecError:  # deleted between the two looks, or damaged: it tells nothing
            continue
        if record.get("kind") == "trained" and record.get("metrics"):
            found.append(record)
    return found


def probe(seconds: float = PROBE_SECONDS, clock=time.perf_counter) -> float:
    """How much slower this processor is than the reference; takes at most ``seconds``.

    The quickest of many bursts of a millisecond counts, so that other work going on now hardly shows.
    """
    from visrec.model.device import cores

    began, quickest, tries = clock(), float("inf"), 0
    while tries < 3 or (clock() - began < seconds and tries < 500):
        at = clock()
        _burst()
        quickest, tries = min(quickest, clock() - at), tries + 1
    return quickest / PROBE_BURST * 2 / min(cores(), 16)


def _burst() -> None:
    """About a millisecond of what a small convolution does: multiply and add, in the cache, on one core."""
    import numpy as np

    values, weights = np.full(16_384, 0.5, np.float32), np.full(16_384, 0.9, np.float32)
    for _ in range(200):
        np.multiply(values, weights, out=values)
        np.add(values, weights, out=values)


def _slower(settings: Settings, may_probe: bool) -> float:
    """The probe's answer, kept beside the caches for the next time."""
    path = settings.cache / f"speed-{process.host()}.json"
    try:
        return float(json.loads(path.read_text())["slower"])
    except (OSError, ValueError, KeyError):
        pass
    if not may_probe:
        return 1.0
    found = min(20.0, max(0.05, probe()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"slower": round(found, 3)}))
    except OSError:
        pass  # an estimate is not worth failing for
    return found


def _config(values: Mapping[str, Any]) -> TrainConfig:
    wanted = ("image_size", "alpha", "weights", "epochs", "fine_tune_epochs", "mirror")
    return TrainConfig(str(values.get("bucket")), **{k: values.get(k) for k in wanted})
