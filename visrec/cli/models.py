"""The command that brings in a model of one's own: ``import-model``."""


def register(commands) -> None:
    """Add the command."""
    import argparse
    import re

    from visrec.cli.runs import show_trained

    text = "make a run of a model of your own, without training"
    command = commands.add_parser("import-model", help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(call=import_model, show=show_trained)
    # a value, not an option: argparse takes what starts with a minus and is no plain number for an option
    command._negative_number_matcher = re.compile(r"^-1\.\.1$")
    add = command.add_argument
    add("file", metavar="FILE", help=".keras, .h5 or .tflite file, a SavedModel folder, or the zip of one")
    add("--labels", required=True, metavar="A,B[,...]",
        help="class names in the order of the outputs; one sigmoid speaks for the second")  # fmt: skip
    add("--bucket", metavar="BUCKET", help="let it answer for this bucket's val and test images, for an audit")
    add("--target", help="column of the bucket that it predicts (default: the bucket's own)")
    add("--by", help="attributes to watch, separated by commas")
    add("--scale", default="0..255", metavar="RANGE",
        help="pixel range it was trained on: 0..255 (default), 0..1 or -1..1")  # fmt: skip
    add("--size", type=int, metavar="N", help="side of its images in pixels, where the file leaves it open")
    add("--logits", action="store_true", help="its outputs are logits: no softmax or sigmoid at the end")
    add("--name", help="what to call the run")
    add("--run-id", help=argparse.SUPPRESS)


def import_model(args, settings) -> dict:
    """``visrec import-model``."""
    import sys
    from pathlib import Path

    from visrec.cli import runs
    from visrec.model.import_model import import_model

    bar = None if args.json and not sys.stderr.isatty() else runs.Bar()
    try:
        run = import_model(
            Path(args.file), settings, runs.names(args.labels), scale=args.scale, size=args.size, logits=args.logits,
            bucket=args.bucket, target=args.target, by=runs.names(args.by), name=args.name, report=bar,
            run_id=args.run_id,
        )  # fmt: skip
    finally:
        if bar:
            bar.close()
    return runs.outcome(run)
