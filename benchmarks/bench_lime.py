"""LIME against stock ``lime``: how long one explanation takes, and whether the weights are the same.

    python benchmarks/bench_lime.py                          # 224 and 96 px, alpha 1.0, 1,000 samples
    python benchmarks/bench_lime.py --model M.keras --image face.jpg --sizes 224 --repeat 5

Four ways are timed in one run on one image and the same superpixels, each the best of ``--repeat``:
stock lime with ``model.predict`` and its default batch of 10; stock lime with our predict function; ours; and ours with
Keras' ``predict_on_batch``. Beside them: the share of our wall time inside the forward pass, and the largest difference
of the weights. Run it on a quiet machine; it prints the machine's load so that the figures can be judged.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np


def main() -> None:
    """Time and print, as text and with ``--json`` as one document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a .keras file (default: MobileNetV2 with random weights)")
    parser.add_argument("--image", type=Path, help="an image file (default: a drawn one)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 96])
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {"machine": machine(), "sizes": [bench(size, args) for size in args.sizes]}
    print(json.dumps(found, indent=1) if args.json else as_text(found))


def bench(size: int, args) -> dict:
    """All ways at one size."""
    from visrec.explain.lime_image import explain_image
    from visrec.explain.segments import segment
    from visrec.model import engine

    model = the_model(args, size)
    size = int(model.input_shape[1])
    image = the_image(args.image, size)
    segments = segment(image)
    with tempfile.TemporaryDirectory() as scratch:
        fast = engine.for_model(model, Path(scratch) / "model.xml")
    plain = engine.KerasEngine(model)

    def by_predict(images):
        return model.predict(images, verbose=0)

    def ours(predict):
        return explain_image(image, predict, samples=args.samples)

    def stock(predict):
        return stock_lime(image, predict, segments, args.samples)

    for warm in (fast, plain, by_predict):
        warm(np.repeat(image[None].astype(np.float32), 10, axis=0))
    seconds, answers = {}, {}
    for name, way, predict in (
        ("stock lime, model.predict, batch 10", stock, by_predict),
        ("stock lime, our engine", stock, fast),
        ("visrec, our engine", ours, fast),
        ("visrec, Keras", ours, plain),
    ):
        seconds[name], answers[name] = best_of(args.repeat, way, predict)
    explained = answers["visrec, our engine"]
    spent = dict(explained.seconds)
    weights = explained.weights
    return {
        "size": size, "samples": args.samples, "segments": explained.n_segments, "engine": fast.name,
        "seconds": seconds,
        "times_faster": {name: s / seconds["visrec, our engine"] for name, s in seconds.items()},
        "forward_share": spent["forward"] / sum(spent.values()), "steps": spent,
        "largest_weight": float(np.abs(weights).max()),
        "difference_to_stock": {
            name: float(np.abs(weights - answers[name]).max()) for name in answers if name.startswith("stock")
        },
    }  # fmt: skip


def best_of(repeat: int, way, predict):
    """The shortest of some runs in seconds, and the last answer."""
    shortest, answer = float("inf"), None
    for _ in range(repeat):
        started = time.perf_counter()
        answer = way(predict)
        shortest = min(shortest, time.perf_counter() - started)
    return shortest, answer


def stock_lime(image: np.ndarray, predict, segments: np.ndarray, samples: int) -> np.ndarray:
    """Stock lime's weights, float64 (2, n); a float64 image, since it truncates the fill of a uint8 one."""
    from lime.lime_image import LimeImageExplainer

    with contextlib.redirect_stderr(io.StringIO()):
        found = LimeImageExplainer(random_state=0).explain_instance(
            image.astype(np.float64), predict, labels=(0, 1), top_labels=None, num_samples=samples,
            segmentation_fn=lambda _: segments,
        )  # fmt: skip
    return np.array([[w for _, w in sorted(found.local_exp[label])] for label in (0, 1)])


def the_model(args, size: int):
    """The given model, or MobileNetV2 with random weights and a head that answers lively."""
    from visrec.model import mobilenet
    from visrec.model.predict import load_keras

    if args.model:
        return load_keras(args.model)
    model = mobilenet.build(size, 2, args.alpha, weights=mobilenet.Weights(None, ""))
    width = model.get_layer(mobilenet.HEAD).kernel.shape[0]
    kernel = np.random.default_rng(0).normal(0, 1, (width, 2))
    mobilenet.set_head(model, kernel, np.zeros(2))
    return model


def the_image(path: Path | None, size: int) -> np.ndarray:
    """The given image, or a drawing."""
    if path:
        from visrec.data.images import decode

        return decode(path.read_bytes(), size)
    from PIL import Image

    random = np.random.default_rng(0)
    blobs = Image.fromarray(random.integers(0, 256, (12, 12, 3)).astype(np.uint8))
    smooth = np.asarray(blobs.resize((size, size), Image.Resampling.BICUBIC), np.float64)
    return np.clip(smooth + random.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def machine() -> dict:
    """What it ran on, without naming the machine."""
    name = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "date": time.strftime("%F"),
    }


def as_text(found: dict) -> str:
    """A few lines a size."""
    m = found["machine"]
    lines = [f"{m['processor']}, {m['cores']} cores, load {m['load']} before, {m['date']}"]
    for one in found["sizes"]:
        lines.append(f"\n{one['size']} px, {one['samples']} samples, {one['segments']} superpixels, {one['engine']}")
        for name, seconds in one["seconds"].items():
            lines.append(f"  {name:<40}{seconds:8.2f} s   ours is {one['times_faster'][name]:.1f} times as fast")
        lines.append(f"  share of wall time inside the forward pass: {one['forward_share']:.0%}")
        apart = max(one["difference_to_stock"].values())
        lines.append(
            f"  largest difference of a weight to stock lime: {apart:.1e} (largest weight {one['largest_weight']:.3f})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
