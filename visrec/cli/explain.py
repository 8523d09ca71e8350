"""``visrec explain``: why a model answers what it answers for one image, and whether to believe that."""

from pathlib import Path

from visrec.errors import InputError, NotFoundError, OutsideError, nearest

STYLES, SHOW = ("outline", "heat"), ("both", "supports", "opposes")


def register(commands) -> None:
    """Add the commands."""
    explain = commands.add_parser("explain", help="why a model answers what it answers for one image")
    explain.add_argument("run", metavar="RUN", help="name or id of a run, or the path of a .keras file")
    explain.add_argument("image", metavar="IMAGE", help="an image file")
    explain.add_argument("--class", dest="label", metavar="C", help="class to explain (default: the predicted one)")
    explain.add_argument("--samples", type=int, default=1000, help="maskings (default 1000; 0: ten per superpixel)")
    explain.add_argument("--seed", type=int, default=0, help="of the maskings (default 0)")
    explain.add_argument("--segmenter", default="slic", help="slic (default), quickshift or felzenszwalb")
    explain.add_argument("--fill", default="mean", help="what hides a superpixel: mean (default), blur or grey")
    explain.add_argument(
        "--no-badge", action="store_true", help="leave out the badge, which costs twice the explanation"
    )
    explain.add_argument("-o", "--output", metavar="overlay.png", help="write the overlay as a PNG")
    explain.add_argument("--top", type=int, default=10, help="superpixels to paint (default 10)")
    explain.add_argument("--opacity", type=float, default=0.5, help="of the tint, 0 to 1 (default 0.5)")
    explain.add_argument("--show", dest="sign", choices=SHOW, default="both", help="which superpixels to paint")
    explain.add_argument("--style", choices=STYLES, default="outline", help="how to paint them")
    explain.set_defaults(call=explain_one, show=_show_explanation)


def explain_one(args, settings) -> dict:
    """Explain one image; the result has the keys of the design plus the class, the seed and each step's seconds."""
    from visrec.explain.badge import judge
    from visrec.explain.document import to_document
    from visrec.explain.lime_image import explain_image

    predictor = open_model(args.run, settings)
    image = read_image(args.image, predictor.image_size)
    found = explain_image(
        image,
        predictor,
        label=None if args.label is None else class_number(args.label, predictor.labels),
        samples=args.samples or None,
        seed=args.seed,
        segmenter=args.segmenter,
        fill=args.fill,
        progress=bar("explaining"),
    )
    badge = None if args.no_badge else judge(image, predictor, found, progress=bar("judging"))
    if args.output:
        write_overlay(args, image, found)
    return to_document(found, predictor.labels, badge) | {"engine": predictor.engine, "overlay": args.output}


def open_model(name: str, settings):
    """The predictor of a run, or of a ``.keras`` file."""
    from visrec.model.predict import load_predictor
    from visrec.runs.record import open_runs

    if name.endswith(".keras"):
        return load_predictor(Path(name))
    return load_predictor(open_runs(settings).open(name))


def read_image(name: str, size: int):
    """The image as the model takes it: uint8 (size, size, 3)."""
    from visrec.explain.upload import read_upload

    path = Path(name)
    try:
        return read_upload(path.read_bytes(), path.name, size)
    except FileNotFoundError:
        near = nearest(path.name, [p.name for p in path.parent.iterdir()], 3) if path.parent.is_dir() else ""
        raise NotFoundError(f"There is no image file '{name}'. {near}".strip()) from None
    except IsADirectoryError:
        raise InputError(f"'{name}' is a folder, expected one image file.") from None
    except PermissionError:
        raise OutsideError(f"'{name}' may not be read by this user.") from None


def class_number(name: str, labels: list[str]) -> int:
    """A class's place in the model's output."""
    if name not in labels:
        raise NotFoundError(f"The model knows no class '{name}'. {nearest(name, labels)}")
    return labels.index(name)


def write_overlay(args, image, found) -> None:
    """The overlay as a PNG, whole or not at all; the same explanation gives the same bytes."""
    import io
    import os

    from PIL import Image

    from visrec.explain.overlay import render_overlay

    drawn = render_overlay(image, found, top=args.top, opacity=args.opacity, show=args.sign, style=args.style)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG")
    goal = Path(args.output)
    half = goal.with_name(f".{goal.name}.part")
    try:
        half.write_bytes(buffer.getvalue())
        os.replace(half, goal)
    except OSError as error:
        raise OutsideError(f"The overlay cannot be written to '{goal}': {error.strerror}.") from error


def bar(what: str):
    """A progress bar on a terminal's standard error, else nothing."""
    import sys

    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    drawn = tqdm(desc=what, unit="sample", leave=False)

    def told(done: int, total: int) -> None:
        drawn.total = total
        drawn.update(done - drawn.n)
        if done >= total:
            drawn.close()

    return told


def _show_explanation(result: dict) -> None:
    scores = sorted(result["scores"].items(), key=lambda item: -item[1])
    print(f"{result['prediction']}  " + "  ".join(f"{name} {p:.3f}" for name, p in scores[:5]))
    badge = result["badge"]
    if badge:
        why = f" ({'; '.join(badge['reasons'])})" if badge["reasons"] else ""
        print(f"Explanation of {result['class']}: {badge['verdict']}{why}")
    heavy = sorted(enumerate(result["weights"]), key=lambda item: -abs(item[1]))[:5]
    print("Heaviest superpixels: " + ", ".join(f"{i} ({w:+.3f})" for i, w in heavy))
    print(f"{result['samples']} samples, seed {result['seed']}, {result['seconds']:.1f} s", end="")
    print(f", overlay in {result['overlay']}" if result["overlay"] else "; add -o overlay.png to see them")
