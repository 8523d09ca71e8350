"""Training, from a bucket to a run with a model and predictions: the whole story, stage by stage.

prepare (pixels), features (the frozen backbone, once), head (a logistic layer on them), fine_tune (the whole network,
if asked), predict, export. Every choice is made on the ``tune`` rows; ``val`` and ``test`` are only predicted.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from visrec.audit.splits import AUDITED
from visrec.config import Settings, TrainConfig
from visrec.errors import RunError, VisrecError
from visrec.model import checkpoint, device, estimate, presets
from visrec.model.faults import sentence
from visrec.runs import jobs
from visrec.runs.queue import Ticket
from visrec.runs.record import Run
from visrec.runs.reporter import Cancelled, Reporter
from visrec.runs.status import Status
from visrec.storage.base import Store

if TYPE_CHECKING:
    import pandas as pd

    from visrec.data.table import BucketTable

FEW = 200
"""Below so many training images the figures say little, and the run says so."""


@dataclass(frozen=True)
class Plan:
    """What a training will do, checked before anything is begun.

    Attributes
    ----------
    config : complete settings
    store : the bucket
    table : its labels
    samples : file, label, split (train, tune, val, test), attributes; already limited
    warnings : sentences the user should read
    decisions : what was decided about problems of the bucket (`visrec.data.decisions`)
    notes : what these decisions left out, in sentences
    """

    config: TrainConfig
    store: Store
    table: "BucketTable"
    samples: "pd.DataFrame"
    warnings: list[str]
    decisions: "Mapping[str, str]"
    notes: list[str]

    @property
    def labels(self) -> list[str]:
        """The classes, sorted: the order of the model's outputs."""
        return sorted(self.samples["label"].unique())

    @property
    def attributes(self) -> list[str]:
        """Columns one may slice the predictions by."""
        columns = [c for c in self.table.attributes if c in self.samples and c != "label"]
        return [c for c in columns if c != self.config.target]


def plan(config: TrainConfig, settings: Settings, decisions: "Mapping[str, str] | None" = None) -> Plan:
    """Read the labels and settle every setting; quick, and changes nothing.

    Parameters
    ----------
    decisions : those that a resumed run began with; None = those taken for the bucket by now

    Raises
    ------
    InputError
        For an unknown bucket, column or option, each with what there is.
    """
    from visrec.data.alike import content_groups
    from visrec.data.decisions import leave_out_rare, load_decisions
    from visrec.data.layouts import read_bucket
    from visrec.data.sample import limit_samples
    from visrec.data.split import assign_splits
    from visrec.storage.buckets import open_bucket

    store = open_bucket(config.bucket, settings)
    kept = load_decisions(settings.cache, store.url) if decisions is None else decisions
    table = read_bucket(store, decisions=kept)
    if decisions is None:
        decisions = table.decisions
    complete = presets.resolve(config, table)
    if complete.weights not in ("imagenet", "none"):
        from visrec.model.mobilenet import find_weights

        find_weights(complete.weights, complete.alpha, complete.image_size)
    groups = content_groups(store, table, settings.cache, decisions)
    samples = assign_splits(table, complete.target, complete.by, complete.seed, groups)
    samples, notes = leave_out_rare(samples, decisions)
    samples = limit_samples(samples, complete.limit, complete.by, complete.seed).reset_index(drop=True)
    return Plan(complete, store, table, samples, _warnings(samples, complete), decisions, notes)


def train(
    config: TrainConfig,
    settings: Settings,
    *,
    run: Run | None = None,
    report: Callable[[Status], None] | None = None,
    owns_process: bool = False,
    on_start: Callable[[Reporter], None] | None = None,
    name: str | None = None,
    attempt: str = "",
) -> Run:
    """Train, predict and save, in this process; waits first if another training has the machine.

    Parameters
    ----------
    run : go on with this run (new, or to be resumed) instead of making one
    report : called with each new Status
    owns_process : this process does nothing else, so that a cancel may end it by a signal
    on_start : called with the reporter before anything long begins (to hook signals)
    attempt : which start or resume of the run this is (`visrec.runs.jobs.claim`); empty = take it over

    Raises
    ------
    InputError
        Before a run is made, for wrong settings.
    RunError
        When the run failed or was cancelled; the run itself says so as well.
    """
    planned = plan(config, settings) if run is None else None
    run = run or jobs.new_run(config, settings, name)
    reporter = Reporter(
        run, owns_process=owns_process, listen=report, explain=sentence, device_memory=device.memory_in_use,
        attempt=attempt, before=run.record.get("seconds"), keep=lambda seconds: run.update(seconds=seconds),
    )  # fmt: skip
    try:
        with reporter, closing(Ticket(jobs.queue_folder(settings), run.id)) as ticket:
            if on_start:
                on_start(reporter)
            reporter.wait_for_turn(lambda: ticket.position(settings.slots), slots=settings.slots)
            _train(planned or plan(config, settings, run.record.get("data_decisions")), settings, run, reporter)
        checkpoint.forget(run)  # not before: whoever is killed on the last step resumes from it
    except (Cancelled, KeyboardInterrupt):
        raise
    except VisrecError as error:
        if reporter.stop():
            raise Cancelled(f"Run '{run.id}' was cancelled.") from error
        raise RunError(f"Run '{run.id}' failed: {sentence(error)}") from error
    except Exception as error:
        raise RunError(f"Run '{run.id}' failed: {sentence(error)}") from error
    return run


def _train(planned: Plan, settings: Settings, run: Run, reporter: Reporter) -> None:
    from visrec.model import lineage, steps, work

    config = planned.config
    lineage.require_same(run.record, splits=lineage.splits(planned.samples))
    expected = estimate.for_settings(config, _counts(planned), settings, may_probe=False).stages
    run.update(
        bucket=config.bucket, bucket_url=planned.store.url, target=config.target, by=list(config.by),
        labels=planned.labels, image_size=config.image_size, attributes=planned.attributes,
        settings=asdict(config), warnings=planned.warnings, layout=planned.table.layout,
        repairs=list(planned.table.repairs),
        estimate=expected,
    )  # fmt: skip
    reporter.use_stages(expected)
    for warning in planned.warnings:
        reporter.log(f"Warning: {warning}")
    ready = work.prepare(planned, settings, run, reporter)
    weights = steps.weights(planned, settings, run, reporter)
    if config.fine_tune_epochs == 0:
        result = steps.head_only(ready, weights, run, reporter)
    elif weights.path is None:
        reporter.use_stages({s: took for s, took in expected.items() if s not in ("features", "head")})
        result = steps.whole_network(ready, weights, run, reporter, warm=False)
    else:
        result = steps.whole_network(ready, weights, run, reporter, warm=True)
    steps.finish(ready, result, run, reporter)


def _counts(planned: Plan) -> dict[str, int]:
    return {str(k): int(v) for k, v in planned.samples["split"].value_counts().items()}


def _warnings(samples: "pd.DataFrame", config: TrainConfig) -> list[str]:
    counts = samples["split"].value_counts()
    found = []
    training = int(counts.get("train", 0))
    if training < FEW:
        found.append(
            f"Only {training} images to train on: expect a rough model, and read every figure with its interval. "
            "A few hundred per class are a good beginning."
        )
    if (judged := int(counts.get(next((s for s in AUDITED if counts.get(s)), ""), 0))) < 50:
        found.append(f"Only {judged} images to judge by: the accuracy's interval will be wide.")
    if not counts.get("tune"):
        found.append("No image could be spared for choosing; choices are made on the train images.")
    by_class = samples[samples["split"] == "train"]["label"].value_counts()
    for label in sorted(set(samples["label"])):
        if by_class.get(label, 0) < 5:
            found.append(
                f"Class '{label}' has {int(by_class.get(label, 0))} images to train on; it will hardly be learnt."
            )
    if config.weights == "none" and config.fine_tune_epochs == 0:
        found.append("Random weights without fine-tuning: the features mean little. Raise the fine-tuning epochs.")
    return found
