"""Work: the pixels and samples of a training, made ready to be learnt from; its first stage.

Every image is decoded once at the model's size; those to learn from once more, larger, for augmentation to cut from.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.config import Settings, TrainConfig
from visrec.data.unread import NOT_READ, UNREAD
from visrec.errors import OutsideError, RunError
from visrec.model import augment, caches, device, engine, lineage, weighting
from visrec.model import fine_tune as tuning
from visrec.runs.record import Run
from visrec.runs.reporter import Reporter

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from visrec.data.prepare import Prepared
    from visrec.model.train import Plan

PREDICTED = ("train", "tune", "val", "test")


@dataclass(frozen=True)
class Work:
    """Pixels and samples of a run, ready to be learnt from.

    Attributes
    ----------
    config, labels, attributes : as in the plan
    samples : the usable rows, in the order of ``data.labels``; ``row`` points into ``data.images``
    data : what the stages train on (rows are indices into the pixels)
    fingerprint : of the pixels
    cache : folder for features and converted models
    engine : which engine makes features and predictions
    """

    config: TrainConfig
    labels: list[str]
    attributes: list[str]
    samples: "pd.DataFrame"
    data: tuning.Data
    fingerprint: str
    cache: Path
    engine: str

    def rows(self, *splits: str) -> "np.ndarray":
        """Positions in ``samples`` of some splits."""
        import numpy as np

        return np.flatnonzero(self.samples["split"].isin(splits))


def prepare(planned: "Plan", settings: Settings, run: Run, reporter: Reporter) -> Work:
    """Decode every image once, and set the bad ones aside."""
    from visrec.data.decisions import settle

    config = planned.config
    caches.prune(settings.cache)
    reporter.log("Loading the libraries.")
    kind = device.make_ready()  # before any stage begins: the seconds of a stage are those of its own work
    reporter.stage("prepare", f"Reading and resizing {len(planned.samples):,} images to {config.image_size} px.")
    learnt = planned.samples[planned.samples["split"] == "train"]
    more = learnt["file"].nunique() if tuning.cuts(config) else 0
    prepared = _pixels(planned, planned.samples, config.image_size, settings, reporter, (0, more))
    found = _as_begun(prepared.samples, run)
    set_aside = found[found["status"] != "ok"]
    kept, notes = settle(found[found["status"] == "ok"], planned.decisions)
    samples = _by_split(kept)
    _tell_set_aside(set_aside, run, reporter)
    notes = [*planned.notes, *notes]
    for note in notes:
        reporter.log(f"As decided for this bucket: {note}.")
    labels = planned.labels
    _check_enough(samples, labels)
    lineage.require_same(run.record, data_fingerprint=lineage.fingerprint(prepared.fingerprint, samples))
    copies = _larger(planned, learnt, prepared, settings, run, reporter) if more else None
    data = _data(prepared.images, copies, samples, labels, config)
    chosen_engine = _engine_of(run)
    run.update(
        samples={s: int((samples["split"] == s).sum()) for s in PREDICTED},
        data_decisions=dict(planned.decisions),
        repairs=[*planned.table.repairs, *notes],
        set_aside={str(k): int(v) for k, v in set_aside["status"].value_counts().items()},
        unread=sorted(set(set_aside["file"][set_aside["status"].isin(NOT_READ)])),
        cut_from={"size": copies.size, "without": copies.without} if copies else {"size": config.image_size},
        lineage=run.record.get("lineage", {}) | lineage.describe(
            data=prepared.fingerprint, samples=samples, seed=config.seed, device=kind, engine=chosen_engine,
            cores=device.cores(),
        ) | {"splits": lineage.splits(planned.samples)},
    )  # fmt: skip
    return Work(
        config, labels, planned.attributes, samples, data, prepared.fingerprint, settings.cache, chosen_engine
    )  # fmt: skip


def _as_begun(samples: "pd.DataFrame", run: Run) -> "pd.DataFrame":
    """The samples as this run began: what the store did not give then stays set aside, even if it gives it now."""
    missed = samples["file"].isin(run.record.get("unread") or [])
    return samples.assign(status=samples["status"].where(~missed | (samples["status"] != "ok"), UNREAD))


def _data(
    images: "np.ndarray", copies: "Copies | None", samples: "pd.DataFrame", labels: list[str], config: TrainConfig
) -> tuning.Data:
    """What is learnt from: labels and weights stand where the pixels of their sample stand."""
    import numpy as np

    codes, weights = np.zeros(len(images), np.int64), np.ones(len(images), np.float32)
    rows, split = samples["row"].to_numpy(np.int64), samples["split"].to_numpy()
    codes[rows] = [labels.index(v) for v in samples["label"]]
    for part in ("train", "tune"):
        chosen = split == part
        weights[rows[chosen]] = weighting.sample_weights(samples[chosen], config.sample_weights, config.by)
    train, tune = rows[split == "train"], rows[split == "tune"]
    larger = (copies.images, copies.rows) if copies else ()
    return tuning.Data(images, codes, weights, train, tune, len(labels), *larger)


def _pixels(
    planned: "Plan", samples: "pd.DataFrame", size: int, settings: Settings, reporter: Reporter, around: tuple[int, int]
) -> "Prepared":
    """Decode images of the bucket; ``around``: how many images of this stage come before these, and after."""
    from visrec.data.prepare import prepare as prepare_pixels

    before, after = around
    prepared = prepare_pixels(
        planned.store, samples, size, settings.cache, fit=planned.config.fit, objects=planned.table.objects,
        progress=lambda done, total: reporter.advance(before + done, before + total + after), stop=reporter.stop,
    )  # fmt: skip
    reporter.check()
    return prepared


@dataclass(frozen=True)
class Copies:
    """The images learnt from once more, larger, for augmentation to cut from.

    Attributes
    ----------
    images : uint8 (m, size, size, 3)
    rows : int (n,), of each row of the prepared images the row here, -1 where there is none
    without : files that have no larger copy, because the store did not give them a second time
    """

    images: "np.ndarray"
    rows: "np.ndarray"
    without: list[str]

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.images.shape[1]


def _larger(
    planned: "Plan", learnt: "pd.DataFrame", prepared: "Prepared", settings: Settings, run: Run, reporter: Reporter
) -> Copies | None:
    """Larger copies, as this run began: None where there was no room for them."""
    import numpy as np

    from visrec.data.prepare import NoRoomError

    size, first = round(planned.config.image_size * augment.LARGER), prepared.samples
    begun = run.record.get("cut_from")
    if begun and begun["size"] != size:
        return None
    try:
        made = _pixels(planned, learnt, size, settings, reporter, (first["file"].nunique(), 0))
    except NoRoomError as error:
        if begun:
            raise
        reporter.log(f"Augmentation cuts from the images at their own size, which blurs them a little. {error}")
        return None
    row_of = dict(zip(first["file"], first["row"], strict=True))
    wanted = made.samples[made.samples["file"].map(row_of).ge(0)]
    missed = set(wanted["file"][wanted["status"] != "ok"])
    if begun and not missed <= set(begun["without"]):
        raise OutsideError("Some images cannot be read just now that this run has learnt from. Resume it later.")
    missed |= set(begun["without"] if begun else ())
    there = wanted[~wanted["file"].isin(missed)]
    rows = np.full(len(prepared.images), -1, np.int64)
    rows[there["file"].map(row_of).to_numpy(np.int64)] = there["row"].to_numpy(np.int64)
    return Copies(made.images, rows, sorted(missed))


def _engine_of(run: Run) -> str:
    """The engine this run began with, so that a resumed run ends as it would have; else by the rule."""
    kept = run.record.get("lineage", {}).get("engine")
    return kept or engine.choose()


def _tell_set_aside(set_aside: "pd.DataFrame", run: Run, reporter: Reporter) -> None:
    if set_aside.empty:
        return
    shown = ", ".join(f"{file} ({status})" for file, status in set_aside[["file", "status"]].head(5).to_numpy())
    reporter.log(f"Set aside {len(set_aside):,} images that could not be read: {shown}.")


def _by_split(samples: "pd.DataFrame") -> "pd.DataFrame":
    """Train first, then tune, val, test: each split's rows of a feature table are then one run, read in place."""
    order = samples["split"].map(PREDICTED.index)
    return samples.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def _check_enough(samples: "pd.DataFrame", labels: list[str]) -> None:
    found = samples[samples["split"] == "train"]["label"].nunique()
    if found < 2:
        raise RunError(
            f"Of the classes {', '.join(labels)} only {found} have readable training images; a classifier needs two. "
            "`visrec inspect` names what is wrong with the images."
        )
