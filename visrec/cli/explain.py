"""``visrec explain`` and ``visrec atlas``: why a model answers what it answers, for one image and group by group."""

import argparse
import errno
from collections.abc import Callable
from pathlib import Path

from visrec.errors import InputError, NotFoundError, OutsideError, nearest

STYLES, SHOW = ("outline", "heat"), ("both", "supports", "opposes")
LARGEST_SEED = 2**31 - 1
"""As on the page; the draws take 32 bits, and the badge and the atlas count on from it."""


def register(commands) -> None:
    """Add the commands."""
    explain = commands.add_parser("explain", help="why a model answers what it answers for one image")
    explain.add_argument("run", metavar="RUN", help="name or id of a run, or the path of a .keras file")
    explain.add_argument("image", metavar="IMAGE", help="an image file")
    explain.add_argument("--class", dest="label", metavar="C", help="class to explain (default: the predicted one)")
    explain.add_argument(
        "--samples", type=whole(0, 1_000_000), metavar="N",
        help="maskings (default, and 0: ten per superpixel, at least 1000)",
    )  # fmt: skip
    explain.add_argument("--fast", action="store_true", help="stop masking when the heaviest superpixels have settled")
    explain.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0, help="of the maskings (default 0)")
    explain.add_argument("--segmenter", default="slic", help="slic (default), quickshift or felzenszwalb")
    explain.add_argument("--fill", default="mean", help="what hides a superpixel: mean (default), blur or grey")
    explain.add_argument(
        "--no-badge", action="store_true", help="leave out the badge, which costs twice the explanation"
    )
    explain.add_argument(
        "--sanity", action="store_true", help="also explain a model with its weights thrown away: does the map change?"
    )
    explain.add_argument("-o", "--output", metavar="overlay.png", help="write the overlay as a PNG")
    explain.add_argument("--top", type=whole(0, 1_000_000), default=10, help="superpixels to paint (default 10)")
    explain.add_argument("--opacity", type=share, default=0.5, help="of the tint, 0 to 1 (default 0.5)")
    explain.add_argument("--show", dest="sign", choices=SHOW, default="both", help="which superpixels to paint")
    explain.add_argument("--style", choices=STYLES, default="outline", help="how to paint them")
    explain.set_defaults(call=explain_one, show=_show_explanation)

    atlas = commands.add_parser("atlas", help="where a model looks, one group against another")
    atlas.add_argument("run", metavar="RUN", help="name or id of a run")
    atlas.add_argument("--by", help="attributes whose crossing makes the cells (default: those the run watched)")
    atlas.add_argument("--split", help="rows to take images from (default: test, else val)")
    atlas.add_argument("--images", type=whole(1, 1_000_000), default=60, help="images per cell at most (default 60)")
    atlas.add_argument("--grid", type=whole(2, 512), default=8, help="squares a side (default 8)")
    atlas.add_argument(
        "--permutations", type=whole(1, 10_000_000), metavar="N",
        help="relabellings of the test (default: enough for a single square)",
    )  # fmt: skip
    atlas.add_argument(
        "--seed", type=whole(0, LARGEST_SEED), default=0, help="of sample, maskings and relabellings (default 0)"
    )
    atlas.set_defaults(call=atlas_of_run, show=_show_atlas)


def whole(least: int, most: int) -> Callable[[str], int]:
    """An option's type: a whole number within bounds; anything else is refused before the work begins."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"'{text}' was given, expected a whole number from {least} to {most}")
        return value

    return read


def share(text: str) -> float:
    """An option's type: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' was given, expected a number from 0 to 1")
    return value


def explain_one(args, settings) -> dict:
    """Explain one image; the result has the keys of the design plus the class, the seed and each step's seconds."""
    from visrec.cli.bar import Bar
    from visrec.explain.badge import judge
    from visrec.explain.document import to_document
    from visrec.explain.lime_image import explain_image
    from visrec.explain.sanity import check_sanity, twin_predictor
    from visrec.runs import jobs

    if args.output:
        check_goal(args.output)
    network = network_file(args.run, settings) if args.sanity else None
    predictor = open_model(args.run, settings)
    image = read_image(args.image, predictor.image_size, predictor.fit)
    label = None if args.label is None else class_number(args.label, predictor.labels)
    with Bar("Explaining") as bar:
        found = explain_image(
            image, predictor, label=label, samples=args.samples or None, seed=args.seed,
            segmenter=args.segmenter, fill=args.fill, adaptive=args.fast, progress=bar,
        )  # fmt: skip
    badge = None
    if not args.no_badge:
        with Bar("Judging") as bar:
            badge = judge(image, predictor, found, progress=bar)
    sanity = None
    if network:
        twin = twin_predictor(network, device_busy=jobs.is_training(settings))
        with Bar("Explaining the model without its weights") as bar:
            sanity = check_sanity(image, found, twin, progress=bar)
    if args.output:
        write_overlay(args, image, found)
    return to_document(found, predictor.labels, badge, sanity) | {"engine": predictor.engine, "overlay": args.output}


def open_model(name: str, settings):
    """The predictor of a run, or of a ``.keras`` file; on the CPU while a training has the device."""
    from visrec.model.predict import load_predictor
    from visrec.runs import jobs
    from visrec.runs.record import open_runs

    source = Path(name) if name.endswith(".keras") else open_runs(settings).open(name)
    return load_predictor(source, device_busy=jobs.is_training(settings))


def network_file(name: str, settings) -> Path:
    """The ``.keras`` file whose weights can be thrown away."""
    from visrec.runs.record import open_runs

    if name.endswith(".keras"):
        return Path(name)
    run = open_runs(settings).open(name)
    if not run.has("model.keras"):
        raise InputError("The weights of a TFLite model cannot be thrown away, so --sanity cannot be had for it.")
    return run.local("model.keras")


def read_image(name: str, size: int, fit: str = "stretch"):
    """The image as the model takes it: uint8 (size, size, 3)."""
    from visrec.explain.upload import read_upload

    path = Path(name)
    return read_upload(_bytes(path, name), path.name, size, fit)


def _bytes(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"There is no image file '{name}'. {_nearest_file(path)}".strip()) from None
    except IsADirectoryError:
        raise InputError(f"'{name}' is a folder, expected one image file.") from None
    except PermissionError:
        raise OutsideError(f"'{name}' may not be read by this user.") from None
    except OSError as error:
        kind = InputError if error.errno == errno.ENAMETOOLONG else OutsideError
        raise kind(f"'{name}' cannot be read: {error.strerror}.") from None


def _nearest_file(path: Path) -> str:
    try:
        return nearest(path.name, [p.name for p in path.parent.iterdir()], 3)
    except OSError:  # no folder, or none that may be listed
        return ""


def class_number(name: str, labels: list[str]) -> int:
    """A class's place in the model's output."""
    if name not in labels:
        raise NotFoundError(f"The model knows no class '{name}'. {nearest(name, labels)}")
    return labels.index(name)


def check_goal(name: str) -> None:
    """Refuse an overlay that could not be written, before anything is computed."""
    goal = Path(name)
    try:
        if not goal.name or goal.is_dir():
            raise InputError(f"'{name}' is a folder, expected the name of the PNG to write: -o overlay.png.")
        found = goal.parent.is_dir()
    except OSError as error:
        raise InputError(f"The overlay cannot be written to '{name}': {error.strerror}.") from None
    if not found:
        raise OutsideError(f"The overlay cannot be written to '{name}': there is no folder '{goal.parent}'.")


def write_overlay(args, image, found) -> None:
    """The overlay as a PNG, whole or not at all; the same explanation gives the same bytes."""
    import io
    import os
    import secrets

    from PIL import Image

    from visrec.explain.overlay import render_overlay

    drawn = render_overlay(image, found, top=args.top, opacity=args.opacity, show=args.sign, style=args.style)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG")
    goal = Path(args.output)
    half = goal.with_name(f".{secrets.token_hex(6)}.part")
    try:
        half.write_bytes(buffer.getvalue())
        os.replace(half, goal)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise OutsideError(f"The overlay cannot be written to '{goal}': {error.strerror}.") from error


def atlas_of_run(args, settings) -> dict:
    """Make the atlas of a run and keep it there."""
    from visrec.cli.bar import Bar
    from visrec.explain.atlas_job import make
    from visrec.runs.record import open_runs

    run = open_runs(settings).open(args.run)
    by = [part for name in args.by.split(",") if (part := name.strip())] if args.by else run.record.get("by") or []
    with Bar("Making the atlas") as bar:
        atlas = make(
            run, settings, by, split=args.split, per_cell=args.images, grid=args.grid, seed=args.seed,
            permutations=args.permutations, report=lambda status: bar(round(100 * status.progress), 100),
        )  # fmt: skip
    return {"run": run.id, **atlas.to_json()}


def _show_explanation(result: dict) -> None:
    scores = sorted(result["scores"].items(), key=lambda item: -item[1])
    print(f"{result['prediction']}  " + "  ".join(f"{name} {p:.3f}" for name, p in scores[:5]))
    badge = result["badge"]
    if badge:
        why = f" ({'; '.join(badge['reasons'])})" if badge["reasons"] else ""
        print(f"Explanation of {result['class']}: {badge['verdict']}{why}")
    if result["sanity"]:
        print(result["sanity"]["sentence"])
    heavy = sorted(enumerate(result["weights"]), key=lambda item: -abs(item[1]))[:5]
    print("Heaviest superpixels: " + ", ".join(f"{i} ({w:+.3f})" for i, w in heavy))
    print(f"{result['samples']} samples, seed {result['seed']}, {result['seconds']:.1f} s", end="")
    print(f", overlay in {result['overlay']}" if result["overlay"] else "; add -o overlay.png to see them")


def _show_atlas(result: dict) -> None:
    from visrec.cli.output import columns
    from visrec.explain.atlas import say_left_out

    print(result["alignment"]["sentence"])
    lit = {d["cell"]: f"{d['lit_share']:.0%}" for d in result["differences"]}
    rows = [
        [c["cell"], c["n"], _span(c, "r2"), _span(c, "stability"), lit.get(c["cell"], "too few")]
        for c in result["cells"]
    ]
    print(columns(rows, ["cell", "n", "R2", "stability", "differs from the rest on"]))
    if left_out := say_left_out(result["images_left_out"]):
        print(left_out)
    if result["permutations"]:
        print(f"Anything differs anywhere: p = {result['p']:.4f} ({result['permutations']:,} relabellings).")
    else:
        print("No two cells have enough comparable images, so nothing can be compared.")


def _span(cell: dict, name: str) -> str:
    value, low, high = (cell[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.2f} ({low:.2f}-{high:.2f})" if cell[f"{name}_known"] else "unknown"
