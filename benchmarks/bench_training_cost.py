"""What training costs: seconds per stage and memory as images grow, and what feeding the network takes away.

    python benchmarks/bench_training_cost.py BUCKET --weights FILE [--limits 1000 3000 9999] [--image-size N]

Growth: ``visrec train`` with one epoch of fine-tuning at each number of images, nothing cached, in a process of its
own whose memory is read from the kernel every 0.2 s: *anonymous* memory must stay flat, *file* memory (the memory
map) is page cache, which the kernel takes back when it needs it. Feeding: the same Keras step on batches held in
memory, and fed as a run feeds it (read from a memory map, augmented), in turns; the share is the median of those of the
rounds, whose order changes, for a machine's speed changes by more within a minute than feeding costs. A turn waits once
for its first batch, as an epoch does, though an epoch is longer: of twenty steps that is half a percent too much.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from visrec.model.presets import PRESETS

READ_EVERY = 0.2


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bucket", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--target", default="gender")
    parser.add_argument("--by", default="race,age")
    parser.add_argument("--limits", type=int, nargs="*", default=[1000, 3000, 9999])
    parser.add_argument("--image-size", type=int, default=PRESETS["balanced"]["image_size"])
    parser.add_argument("--steps", type=int, default=20, help="steps of each feeding in a round; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    found = {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1)}
    if args.steps:
        found["feeding"] = feeding(args.image_size, args.weights, args.steps, args.rounds)
    found["growth"] = [growth(args, limit) for limit in args.limits]
    print(json.dumps(found, indent=1))


def growth(args, limit: int) -> dict:
    """One training of ``limit`` images: seconds of each stage, and the most memory it held."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        env = {**os.environ, "VISREC_RUNS": f"{scratch}/runs", "VISREC_CACHE": f"{scratch}/cache"}
        env["VISREC_QUEUE"] = f"{scratch}/queue"  # a training that someone else started is not waited for
        command = [sys.executable, "-m", "visrec", "train", str(args.bucket.resolve()), "--target", args.target]
        command += ["--by", args.by, "--limit", str(limit), "--image-size", str(args.image_size), "--json"]
        command += ["--weights", str(args.weights.resolve()), "--fine-tune-epochs", "1"]
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        peak = {"RssAnon": 0.0, "RssFile": 0.0}
        while process.poll() is None:
            for name, held in memory(process.pid).items():
                peak[name] = max(peak[name], held)
            time.sleep(READ_EVERY)
        record = json.loads(next(Path(scratch, "runs").glob("*/run.json")).read_text())
    return {
        "limit": limit, "images": sum(record["samples"].values()), "seconds": record["seconds"],
        "peak_anonymous_mb": round(peak["RssAnon"]), "peak_file_mb": round(peak["RssFile"]),
    }  # fmt: skip


def memory(pid: int) -> dict[str, float]:
    """Resident memory of a process in MB: anonymous, and of files."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    wanted = ("RssAnon", "RssFile")
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(wanted)}


def noise(path: Path, count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """A memory map of images of noise."""
    shape = (count, side, side, 3)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    images[:] = rng.integers(0, 256, shape, dtype=np.uint8)
    return images


def feeding(size: int, weights: Path, steps: int, rounds: int) -> dict:
    """Images per second of the same step, from memory and as a run feeds it; medians of the turns."""
    from visrec.model import augment, batch_norm, device, fine_tune, mobilenet

    device.make_ready()  # before Keras, as in a run
    import keras

    batch = 64
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        images, larger = (
            noise(Path(scratch) / f"{side}.npy", steps * batch, side, rng)
            for side in (size, round(size * augment.LARGER))
        )
        labels = rng.integers(0, 2, len(images))
        every = np.arange(len(images))
        data = fine_tune.Data(images, labels, np.ones(len(images), np.float32), every, every[:0], 2, larger, every)
        found = mobilenet.find_weights(str(weights), 1.0, size)
        model = mobilenet.build(size, 2, 1.0, weights=found, taps="deep", seed=0)
        recipe = fine_tune.Recipe()
        fed = fine_tune.feed(data, recipe, batch, 0, epochs=100)
        kept = fed[0]

        class Held(keras.utils.PyDataset):
            def __len__(self) -> int:
                return steps

            def __getitem__(self, step: int):
                return kept

        held = Held(workers=1, use_multiprocessing=False, max_queue_size=4)
        speed = {"memory": [], "fed": []}
        with batch_norm.fused(model):
            fine_tune.compile_model(model, recipe, steps=steps * rounds * 2)
            fine_tune.step_by_step(model, held, lambda *_: None)  # the graph is built
            for turn in range(rounds):
                sources = [("memory", held), ("fed", fed)]
                for name, source in sources if turn % 2 else sources[::-1]:
                    began = time.monotonic()
                    fine_tune.step_by_step(model, source, lambda *_: None)
                    speed[name].append(steps * batch / (time.monotonic() - began))
    shares = np.divide(speed["fed"], speed["memory"])
    low, high = np.quantile(np.median(rng.choice(shares, (2_000, rounds)), axis=1), [0.025, 0.975])
    return {
        **{f"{name}_per_s": float(np.median(values)) for name, values in speed.items()},
        "share": float(np.median(shares)), "low": float(low), "high": float(high), "image_size": size,
    }  # fmt: skip


if __name__ == "__main__":
    main()
