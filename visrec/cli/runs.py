"""Commands about runs: train, and what can be done with a run before, during and after."""

import argparse
import signal
import sys

from visrec.cli import compare
from visrec.errors import InputError, NotFoundError, RunError, VisrecError


def register(commands) -> None:
    """Add the commands."""
    _register_train(commands)
    _command(commands, "runs", list_runs, show_runs, "list the runs, newest first")
    follow = _command(commands, "follow", follow_run, show_run, "follow a run until it ends")
    cancel = _command(commands, "cancel", cancel_run, show_run, "stop a run; what was reached is kept")
    resume = _command(commands, "resume", resume_run, show_trained, "go on with a run that did not finish")
    resume.add_argument("--detach", action="store_true", help="return at once, train in the background")
    delete = _command(commands, "delete", delete_run, show_done, "delete a run for good")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    rename = _command(commands, "rename", rename_run, show_done, "give a run another name")
    note = _command(commands, "note", note_run, show_done, "keep a remark with a run")
    compare.register(commands)
    predict = _command(commands, "predict", predict_images, show_predictions, "label images with a run's model")
    export = _command(commands, "export", export_run, show_done, "write a run's model for elsewhere")
    for command in (follow, cancel, resume, delete, rename, note, predict, export):
        command.add_argument("run", metavar="RUN", help="id, name, start of an id, or 'latest'")
    rename.add_argument("name", metavar="NAME")
    note.add_argument("text", metavar="TEXT")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    export.add_argument("--format", default="savedmodel", help="savedmodel, keras or tflite (default savedmodel)")
    export.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write to")


def _command(commands, name: str, call, show, text: str):
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(call=call, show=show)
    return command


def _register_train(commands) -> None:
    train = _command(commands, "train", train_run, show_trained, "train a classifier on a bucket")
    add = train.add_argument
    add("bucket", metavar="BUCKET", nargs="?", help="name, path or s3://bucket/prefix")
    add("--target", help="column to predict (default: the bucket's own)")
    add("--by", help="attributes to watch, separated by commas")
    add("--image-size", type=int, metavar="N", help="side in pixels the images are resized to")
    add("--alpha", type=float, metavar="A", help="width of MobileNetV2, 0.35 to 1.4")
    add("--weights", metavar="imagenet|none|PATH", help="what the backbone begins with")
    add("--allow-random-weights", action="store_true", default=None,
        help="go on from random weights when ImageNet's cannot be had")  # fmt: skip
    add("--epochs", type=int, metavar="N", help="most passes over the stored features")
    add("--fine-tune-epochs", type=int, metavar="N", help="epochs of training the whole network; 0 = head only")
    add("--batch-size", type=int, metavar="N", help="images per step of fine-tuning")
    add("--limit", type=int, metavar="N", help="a seeded sample of N training images, proportions kept")
    add("--seed", type=int, default=0, help="of split, sample, weights and batches (default 0)")
    add("--preset", default="balanced", help="quick, balanced (default) or thorough")
    add("--sample-weights", help="none, class, group or reweighing")
    add("--fit", help="how a rectangle becomes a square: stretch (default), crop (its middle) or pad (with white)")
    add(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="learn from mirror images too, and answer from both sides (default); not where sides matter: arrows, text",
    )
    add("--name", help="what to call the run")
    add("--detach", action="store_true", help="return at once, train in the background")
    add("--dry-run", action="store_true", help="say what would be done and how long it would take, and do nothing")
    add("--run-id", help=argparse.SUPPRESS)
    add("--attempt", default="", help=argparse.SUPPRESS)


def train_run(args, settings) -> dict:
    """``visrec train``: in this process, unless ``--detach``."""
    from visrec.model.train import plan
    from visrec.runs import jobs

    if args.run_id:
        return _go_on(args.run_id, args.attempt, settings)
    if not args.bucket:
        raise InputError("train needs a bucket: its name, a path, or s3://bucket/prefix. `visrec buckets` lists them.")
    config = _config(args)
    if args.dry_run:
        from visrec.cli import dry_run

        args.show = dry_run.show
        return dry_run.plan(config, settings)
    if args.detach:
        plan(config, settings)  # a wrong column is told now, not in a log
        return outcome(jobs.start(config, settings, name=args.name))
    return _train(settings, args.json, config=config, name=args.name)


def _config(args):
    from visrec.config import TrainConfig

    return TrainConfig(
        bucket=args.bucket, target=args.target, by=names(args.by), image_size=args.image_size, alpha=args.alpha,
        weights=args.weights, allow_random=args.allow_random_weights, epochs=args.epochs,
        fine_tune_epochs=args.fine_tune_epochs, batch_size=args.batch_size, limit=args.limit, seed=args.seed,
        preset=args.preset, sample_weights=args.sample_weights, fit=args.fit, mirror=args.mirror,
    )  # fmt: skip


def names(text: str | None) -> tuple[str, ...] | None:
    """The parts between commas; None where nothing was said."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _go_on(run_id: str, attempt: str, settings) -> dict:
    """The process that `visrec.runs.jobs` started: everything it needs is in the run's folder."""
    from visrec.runs import jobs
    from visrec.runs.record import open_runs

    run = open_runs(settings).open(run_id)
    return _train(settings, quiet=True, config=jobs.config_of(run), run=run, attempt=attempt)


def _train(settings, quiet: bool, *, config, run=None, name=None, attempt: str = "") -> dict:
    from visrec.model.train import train

    def hook(reporter) -> None:
        signal.signal(signal.SIGTERM, lambda *_: reporter.ask_to_stop())

    bar = None if quiet and not sys.stderr.isatty() else Bar()
    try:
        run = train(
            config, settings, run=run, report=bar, owns_process=True, on_start=hook, name=name, attempt=attempt
        )  # fmt: skip
    finally:
        if bar:
            bar.close()
    return outcome(run)


class Bar:
    """Progress on standard error: one line rewritten in a terminal, else a line per stage."""

    def __init__(self):
        self._rewrite, self._last, self._open = sys.stderr.isatty(), "", False

    def __call__(self, status) -> None:
        left = f", about {status.stage_left:.0f} s left" if status.stage_left else ""
        line = f"{status.progress:4.0%} {status.stage or status.state}: {status.message}{left}"
        if self._rewrite:
            sys.stderr.write(f"\r\x1b[K{line[:150]}")
            self._open = True
        elif status.stage != self._last:
            sys.stderr.write(line + "\n")
        self._last = status.stage
        sys.stderr.flush()

    def close(self) -> None:
        """End the line."""
        if self._open:
            sys.stderr.write("\n")


def outcome(run) -> dict:
    """What ``train`` and ``resume`` print as JSON."""
    record, status = run.record, run.status()
    return {
        "run": run.id, "name": record.get("name"), "state": status.state, "message": status.message,
        "metrics": record.get("metrics"), "seconds": record.get("seconds"), "weights": record.get("weights_note"),
        "warnings": record.get("warnings", []),
    }  # fmt: skip


def list_runs(args, settings) -> list[dict]:
    """``visrec runs``; one that cannot be read is listed with the reason, and hides no other."""
    from visrec.runs.record import open_runs

    rows = [summary(run) for run in open_runs(settings).list()]
    return [row for row in rows if row is not None]


def summary(run) -> dict | None:
    """One run in a list; None when it was deleted meanwhile."""
    from visrec.runs.record import headline
    from visrec.runs.status import Status

    try:
        record, status = run.record, run.status()
    except NotFoundError:
        return None
    except VisrecError as error:
        record, status = {"name": run.id}, Status("failed", message=f"Its record is damaged or out of reach. {error}")
    return {
        "run": run.id, "name": record.get("name"), "kind": record.get("kind"), "state": status.state,
        "stage": status.stage, "progress": status.progress, "position": status.position,
        "created": record.get("created"), "bucket": record.get("bucket"), "target": record.get("target"),
        "accuracy": headline(record) or None, "note": record.get("note", ""), "message": status.message,
    }  # fmt: skip


def _open(args, settings):
    from visrec.runs.record import open_runs

    return open_runs(settings).open(args.run)


def follow_run(args, settings) -> dict:
    """``visrec follow``: waits until the run ends; exit code 4 if it did not end well."""
    from visrec.runs import jobs

    run, bar = _open(args, settings), Bar()
    status = jobs.follow(run, listen=bar)
    bar.close()
    args.exit_code = 0 if status.ok else RunError.exit_code
    return {**outcome(run), "next": status.next_action}


def cancel_run(args, settings) -> dict:
    """``visrec cancel``."""
    from visrec.runs import jobs

    run = _open(args, settings)
    status = jobs.cancel(run)
    return {**outcome(run), "next": status.next_action}


def resume_run(args, settings) -> dict:
    """``visrec resume``: in this process, unless ``--detach``."""
    from visrec.runs import jobs

    run = _open(args, settings)
    if args.detach:
        return outcome(jobs.resume(run, settings))
    attempt = jobs.claim(run, settings)
    return _train(settings, args.json, config=jobs.config_of(run), run=run, attempt=attempt)


def delete_run(args, settings) -> dict:
    """``visrec delete``: asks first."""
    from visrec.runs.record import open_runs

    run = _open(args, settings)
    if not args.yes:
        if not sys.stdin.isatty():
            raise InputError(f"Deleting run '{run.id}' is for good; say --yes to do it without being asked.")
        sys.stderr.write(f"Delete run '{run.name}' ({run.id}) for good? [y/N] ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return {"run": run.id, "deleted": False}
    open_runs(settings).delete(run)
    return {"run": run.id, "deleted": True}


def rename_run(args, settings) -> dict:
    """``visrec rename``."""
    from visrec.runs import record

    run = _open(args, settings)
    record.rename(run, args.name)
    return {"run": run.id, "name": run.name}


def note_run(args, settings) -> dict:
    """``visrec note``."""
    from visrec.runs import record

    run = _open(args, settings)
    record.note(run, args.text)
    return {"run": run.id, "note": run.record["note"]}


def predict_images(args, settings) -> list[dict]:
    """``visrec predict``: an image that cannot be read gets its reason; the others are labelled all the same."""
    from pathlib import Path

    from visrec.model.predict import load_predictor, predict_files
    from visrec.runs import jobs

    run = _open(args, settings)
    predictor = load_predictor(run, device_busy=jobs.is_training(settings), cache=settings.cache / "engines")
    answers = list(predict_files(predictor, [Path(p) for p in args.images]))
    if all("error" in answer for answer in answers):
        args.exit_code = InputError.exit_code
    return answers


def export_run(args, settings) -> dict:
    """``visrec export``."""
    from pathlib import Path

    from visrec.model import export

    run = _open(args, settings)
    files = export.copy_out(run, args.format, Path(args.output))
    return {"run": run.id, "format": args.format, "files": [str(f) for f in files]}


def show_trained(result: dict) -> None:
    """The end of a training, for people."""
    from visrec.runs.record import headline

    print(f"Run {result['run']} ({result['name']}): {result['state']}. {result['message']}")
    for warning in result["warnings"]:
        print(f"Warning: {warning}")
    if value := headline(result):
        print(
            f"Accuracy on {value['split'] or 'the table'}: {value['value']:.3f} "
            f"(95 % interval {value['low']:.3f} to {value['high']:.3f}, n = {value['n']:,})"
        )
    if seconds := result.get("seconds"):
        print("Seconds: " + ", ".join(f"{stage} {s:.1f}" for stage, s in seconds.items()))


def show_run(result: dict) -> None:
    """A run and what can be done next."""
    show_trained(result)
    print(result["next"])


def show_runs(result: list[dict]) -> None:
    """The list of runs."""
    from visrec.cli.output import columns

    if not result:
        print("There are no runs yet. `visrec train BUCKET` makes one.")
        return
    rows = [[r["run"], r["name"], _state(r), _share(r["accuracy"]), (r["created"] or "")[:16]] for r in result]
    print(columns(rows, ["run", "name", "state", "accuracy", "created"]))
    for r in result:
        if r["kind"] is None:
            print(f"{r['run']}: {r['message']}")


def _share(value: dict | None) -> str:
    """An accuracy with the split that it is of.

    >>> _share({"value": 0.8, "split": "test"}), _share(None)
    ('0.800 (test)', '')
    """
    if not value or value["value"] is None:
        return ""
    return f"{value['value']:.3f}" + (f" ({value['split']})" if value["split"] else "")


def _state(row: dict) -> str:
    """The state, and for a run that waits its place in the queue.

    >>> _state({"state": "queued", "position": 2})
    'queued (2 before it)'
    """
    waits = row["state"] == "queued" and row["position"]
    return f"{row['state']} ({row['position']} before it)" if waits else row["state"]


def show_predictions(result: list[dict]) -> None:
    """One line per image."""
    for answer in result:
        if "error" in answer:
            print(f"{answer['file']}: {answer['error']}")
        else:
            print(f"{answer['file']}: {answer['prediction']} ({answer['scores'][answer['prediction']]:.3f})")


def show_done(result: dict) -> None:
    """What was done, one ``key: value`` a line."""
    for key, value in result.items():
        print(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
