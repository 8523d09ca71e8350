"""Training the head: the tutorial's recipe against ``visrec train``, side by side on the same faces.

    python benchmarks/bench_training.py BUCKET --weights FILE [--limit 2000] [--repeat 2]

BUCKET is in FairFace's layout, FILE the weights of MobileNetV2 1.0 without its top. The tutorial's recipe: class
folders read by ``image_dataset_from_directory`` at 224 px, the frozen backbone run anew in each of 5 epochs, batches
of 32, SGD 0.005 with momentum 0.9, dropout 0.2, L2 1e-4, label smoothing 0.1, validation after each epoch on 600
faces, a SavedModel at the end. Ours: ``visrec train --fine-tune-epochs 0 --image-size 224`` from the raw bucket, the
caches empty. Both learn from the same training faces, each in a process of its own, in turn. Stages are compared
without imports, whole processes beside them; both models then answer all validation faces, paired (McNemar). The
tutorial's time begins when its folders are ready: what making them costs is not counted against it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

TARGET, BY = "gender", ["race", "age"]
SIZE, EPOCHS, BATCH, VALIDATION = 224, 5, 32, 600


def main() -> None:
    """Measure in turns, judge, print as text or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bucket", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=1, help="rounds; the fastest of each way counts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return tutorial(args.child, args.weights)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        found = bench(args, Path(scratch))
    print(json.dumps(found, indent=1) if args.json else as_text(found))
    return None


def bench(args, scratch: Path) -> dict:
    """Both ways, in turn, and their judgement on every validation face."""
    ours, theirs = [], []
    for turn in range(args.repeat):
        folder = scratch / str(turn)
        ours.append(run_ours(args, folder))
        theirs.append(run_tutorial(args, folder))
    mine, other = min(ours, key=lambda r: r["stages"]), min(theirs, key=lambda r: r["stages"])
    return {
        "machine": {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1)},
        "visrec": {k: v for k, v in mine.items() if k != "answers"},
        "tutorial": {k: v for k, v in other.items() if k != "answers"},
        "times_faster": {
            "stages": other["stages"] / mine["stages"], "whole_process": other["process"] / mine["process"],
        },
        "judged": judge(args.bucket, other["answers"], mine["answers"]),
    }  # fmt: skip


def run_ours(args, folder: Path) -> dict:
    """``visrec train`` in a process of its own, nothing cached."""
    env = {**os.environ, "VISREC_RUNS": str(folder / "runs"), "VISREC_CACHE": str(folder / "cache")}
    env["VISREC_QUEUE"] = str(folder / "queue")  # a training that someone else started is not waited for
    command = [sys.executable, "-m", "visrec", "train", str(args.bucket.resolve()), "--target", TARGET]
    command += ["--by", ",".join(BY), "--limit", str(args.limit), "--image-size", str(SIZE)]
    command += ["--weights", str(args.weights.resolve()), "--fine-tune-epochs", "0", "--json"]
    began = time.monotonic()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    process = time.monotonic() - began
    run = folder / "runs" / json.loads(done.stdout)["run"]
    seconds = json.loads((run / "run.json").read_text())["seconds"]
    return {"stages": sum(seconds.values()), "seconds": seconds, "process": process, "answers": answers(args, run)}


def answers(args, run: Path) -> pd.Series:
    """Our model's answer to each validation face, by file, as ``visrec predict`` gives it."""
    from visrec.model.predict import load_predictor, predict_files

    files = validation(args.bucket)["file"]
    found = predict_files(load_predictor(run / "model.keras"), [args.bucket / f for f in files])
    return pd.Series([row["prediction"] for row in found], index=files.to_list())


def run_tutorial(args, folder: Path) -> dict:
    """The tutorial's recipe in a process of its own, on the faces our run trained on."""
    table = pd.read_parquet(next((folder / "runs").glob("*/predictions.parquet")))
    held_out = validation(args.bucket)
    parts = {
        "train": table[table["split"].isin(["train", "tune"])],
        "val": held_out.sample(VALIDATION, random_state=0).rename(columns={TARGET: "label"}),
    }
    for name, rows in parts.items():
        for file, label in zip(rows["file"], rows["label"], strict=True):
            place = folder / "classes" / name / label / file.replace("/", "_")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to((args.bucket / file).resolve())
    (folder / "judged.txt").write_text("\n".join(str((args.bucket / f).resolve()) for f in held_out["file"]))
    command = [sys.executable, __file__, str(args.bucket), "--weights", str(args.weights), "--child", str(folder)]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    began = time.monotonic()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    process = time.monotonic() - began
    told = json.loads(done.stdout.splitlines()[-1])
    given = pd.Series(told.pop("answers"), index=held_out["file"].to_list())
    return {**told, "process": process - told.pop("judging"), "answers": given}


def tutorial(folder: Path, weights: Path) -> None:
    """The recipe itself; prints seconds and answers as one line of JSON."""
    import keras
    import tensorflow as tf

    began = time.monotonic()
    options = {"image_size": (SIZE, SIZE), "batch_size": BATCH, "label_mode": "categorical", "verbose": False}
    train = keras.utils.image_dataset_from_directory(folder / "classes" / "train", seed=0, **options)
    val = keras.utils.image_dataset_from_directory(folder / "classes" / "val", shuffle=False, **options)
    names = train.class_names
    backbone = keras.applications.MobileNetV2(input_shape=(SIZE, SIZE, 3), include_top=False, weights=None)
    backbone.load_weights(str(weights))
    backbone.trainable = False
    image = keras.Input((SIZE, SIZE, 3))
    hidden = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image), training=False)
    hidden = keras.layers.Dropout(0.2, seed=0)(keras.layers.GlobalAveragePooling2D()(hidden))
    decayed = keras.regularizers.L2(1e-4)
    model = keras.Model(
        image, keras.layers.Dense(len(names), activation="softmax", kernel_regularizer=decayed)(hidden)
    )  # fmt: skip
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model.compile(keras.optimizers.SGD(0.005, momentum=0.9), loss, metrics=["accuracy"])
    history = model.fit(train, validation_data=val, epochs=EPOCHS, verbose=0).history
    model.export(str(folder / "saved"), verbose=False)
    stages = time.monotonic() - began
    files = (folder / "judged.txt").read_text().splitlines()
    read = tf.data.Dataset.from_tensor_slices(files).map(
        lambda file: tf.image.resize(tf.io.decode_jpeg(tf.io.read_file(file), channels=3), (SIZE, SIZE))
    )
    chances = model.predict(read.batch(BATCH), verbose=0)
    told = {"stages": stages, "val_accuracy": history["val_accuracy"][-1], "judging": time.monotonic() - began - stages}
    print(json.dumps({**told, "answers": [names[i] for i in chances.argmax(1)]}))


def validation(bucket: Path) -> pd.DataFrame:
    """The label rows of every validation face."""
    return pd.read_csv(bucket / "fairface_label_val.csv")


def judge(bucket: Path, theirs: pd.Series, ours: pd.Series) -> dict:
    """Both models on the same validation faces: accuracies, difference with interval, McNemar's p."""
    from visrec.audit import paired

    table = validation(bucket).rename(columns={TARGET: "label"})[["file", "label", *BY]]
    first, second = (table.assign(prediction=table["file"].map(given)) for given in (theirs, ours))
    found = paired.compare(first, second, ["race"])
    return {**found.overall, "sentence": paired.sentence(found, "the tutorial's model", "visrec's model")}


def as_text(found: dict) -> str:
    """The findings, a line each."""
    mine, other, times, judged = (found[k] for k in ("visrec", "tutorial", "times_faster", "judged"))
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in mine["seconds"].items())
    return "\n".join([
        f"machine: {found['machine']['cores']} cores, load {found['machine']['load']}",
        f"visrec: stages {mine['stages']:.1f} s ({stages}); whole process {mine['process']:.1f} s",
        f"tutorial: stages {other['stages']:.1f} s; whole process {other['process']:.1f} s; "
        f"accuracy on its {VALIDATION} validation faces {other['val_accuracy']:.3f}",
        f"times faster: stages {times['stages']:.1f}, whole process {times['whole_process']:.1f}",
        f"on all {judged['n']:,} validation faces: {judged['sentence']}",
        json.dumps({k: v for k, v in judged.items() if k != "sentence"}),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
