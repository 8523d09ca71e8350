"""The study behind the trust badge: what the five measures are for a real model and for randomised twins of it.

    python benchmarks/study_badge.py MODEL.keras IMAGES_FOLDER --images 30 --twins 4 -o study.csv
    python benchmarks/study_badge.py --read study.csv [more.csv]     # shares by verdict at the present thresholds

Every row is one explanation: the model's kind (``trained`` or how it was randomised), the twin's seed, the image and
the measures. Randomised models explain nothing worth knowing, so at most 5 % of theirs may come out *solid*; within
that, thresholds are to let as many of the trained model's through as possible.
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import numpy as np

MEASURES = ("r2", "stability", "deletion", "insertion", "agreement", "effect")


def main() -> None:
    """Run or read a study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("images", nargs="?", type=Path)
    parser.add_argument("--images", dest="count", type=int, default=30)
    parser.add_argument("--twins", type=int, default=4, help="randomised twins of each kind")
    parser.add_argument("--first-twin", type=int, default=0, help="seed of the first twin, to add to an earlier study")
    parser.add_argument("--kinds", nargs="+", help="randomise in these ways only; default all of them")
    parser.add_argument("--first-image", type=int, default=0, help="leave out so many of the drawn images")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("-o", "--output", type=Path, default=Path("study.csv"))
    parser.add_argument("--read", nargs="+", type=Path)
    args = parser.parse_args()
    if args.read:
        summarise(args.read)
        return
    study(args)
    summarise([args.output])


def study(args) -> None:
    """Explain and judge the same images with the model and its twins; rows are written as they come."""
    from visrec.explain.sanity import KINDS, randomised
    from visrec.model import engine
    from visrec.model.predict import load_keras

    model = load_keras(args.model)
    images = read_images(args.images, args.count, int(model.input_shape[1]), args.first_image)
    with args.output.open("w", newline="") as file, tempfile.TemporaryDirectory() as scratch:
        rows = csv.DictWriter(file, ["model", "kind", "twin", "image", "top_probability", *MEASURES])
        rows.writeheader()
        seeds = range(args.first_twin, args.first_twin + args.twins)
        trained = [] if args.first_twin else [("trained", 0)]
        variants = [*trained, *((kind, seed) for seed in seeds for kind in args.kinds or KINDS)]
        for kind, seed in variants:
            asked = model if kind == "trained" else randomised(model, kind, seed, np.stack(list(images.values())))
            predict = engine.for_model(asked, Path(scratch) / f"{kind}-{seed}.xml")
            for name, image in images.items():
                found = one(image, predict, args.samples)
                rows.writerow({"model": args.model.stem, "kind": kind, "twin": seed, "image": name, **found})
            file.flush()
            print(f"{kind} {seed}: done", file=sys.stderr, flush=True)


def one(image: np.ndarray, predict, samples: int) -> dict:
    """The measures of one explanation."""
    from visrec.explain.badge import judge
    from visrec.explain.lime_image import explain_image

    explained = explain_image(image, predict, samples=samples)
    badge = judge(image, predict, explained)
    return {m: getattr(badge, m) for m in MEASURES} | {"top_probability": explained.prediction.max()}


def read_images(folder: Path, count: int, size: int, first: int = 0) -> dict[str, np.ndarray]:
    """A seeded sample of the images in a folder, by name, leaving out the ``first`` of it."""
    from visrec.data.images import decode, is_image_name

    files = sorted(p for p in folder.rglob("*") if is_image_name(p.name))
    chosen = np.random.default_rng(0).permutation(len(files))[first : first + count]
    return {files[i].name: decode(files[i].read_bytes(), size) for i in sorted(chosen)}


def summarise(paths: list[Path]) -> None:
    """Shares of verdicts by kind of model at the present thresholds, and each measure's quartiles."""
    import pandas as pd

    from visrec.explain.badge import NONE, pronounce

    table = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    table["verdict"] = [
        NONE if np.isnan(row["r2"]) else pronounce(row)[0] for row in table[list(MEASURES)].to_dict("records")
    ]
    table["randomised"] = np.where(table["kind"] == "trained", "", "randomised")
    print(pd.crosstab([table["model"], table["randomised"], table["kind"]], table["verdict"], margins=True).to_string())
    print(
        table.groupby(["model", "kind"])[[*MEASURES, "top_probability"]].quantile([0.1, 0.5, 0.9]).round(3).to_string()
    )


if __name__ == "__main__":
    main()
