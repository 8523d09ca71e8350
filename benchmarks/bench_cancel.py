"""How long a cancel takes: from asking to a run that says *cancelled* and a process that is gone.

    python benchmarks/bench_cancel.py BUCKET --weights FILE [--times 3] [--image-size N]

Real trainings with fine-tuning, cancelled in each of their stages at a drawn moment: of runs in a folder as ``visrec
cancel`` does it on the same machine (goal 2 s), and of runs in a bucket (moto's S3 server on loopback) as another
machine does it, by the request alone, without a signal (goal 10 s). Prints one JSON document, seconds.
"""

import argparse
import json
import os
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from visrec.config import Settings, TrainConfig
from visrec.connections import S3Settings
from visrec.model.presets import PRESETS
from visrec.runs import jobs
from visrec.runs.status import ACTIVE

STAGES = ("prepare", "features", "fine_tune", "predict")
SECRET = "not-a-secret"


def main() -> None:
    """Measure both places and print."""
    from moto.server import ThreadedMotoServer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bucket", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--target", default="gender")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=PRESETS["balanced"]["image_size"])
    args = parser.parse_args()
    found = {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1)}
    config = TrainConfig(
        args.bucket.name, target=args.target, weights=str(args.weights.absolute()), image_size=args.image_size,
        fine_tune_epochs=1, limit=1000,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        settings = Settings(buckets=(args.bucket.absolute().parent,), runs=str(place / "runs"), queue=place / "queue")
        found["folder, by signal"] = measured(config, settings, place, args.times, by_signal=True)
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        s3 = S3Settings("runs", "benchmark", SECRET, f"http://{host}:{port}", "us-east-1", None, "path")
        made(s3)
        found["bucket, by request"] = measured(
            config, replace(settings, runs="s3://runs/all", s3=s3), place, args.times, by_signal=False
        )
        server.stop()
    print(json.dumps(found, indent=1))


def made(s3: S3Settings) -> None:
    """The bucket of the runs."""
    import boto3

    keys = {"aws_access_key_id": s3.access_key_id, "aws_secret_access_key": s3.secret_access_key}
    boto3.client("s3", endpoint_url=s3.endpoint_url, region_name=s3.region, **keys).create_bucket(Bucket=s3.bucket)


def measured(
    config: TrainConfig, settings: Settings, place: Path, times: int, *, by_signal: bool
) -> dict[str, list[float]]:
    """Seconds of each cancel, by the stage in which it was asked for."""
    return {stage: [once(config, settings, place, stage, i, by_signal) for i in range(times)] for stage in STAGES}


def once(config: TrainConfig, settings: Settings, place: Path, stage: str, seed: int, by_signal: bool) -> float:
    """One training with nothing cached, cancelled some time after a stage has begun."""
    with tempfile.TemporaryDirectory(dir=place) as cache:
        run = jobs.start(config, replace(settings, cache=Path(cache)))
        while run.status().stage != stage:
            if run.status().state not in ACTIVE:
                raise SystemExit(f"The training ended before {stage}: {run.log()}")
            time.sleep(0.1)
        time.sleep(random.Random(f"{stage} {seed}").uniform(0, 1))
        began = time.monotonic()
        if by_signal:
            jobs.cancel(run)
        else:
            run.write_json("cancel.json", {"asked": time.time()})
        while run.status().state != "cancelled":
            time.sleep(0.05)
        taken = time.monotonic() - began
        while jobs.is_training(settings):
            time.sleep(0.05)
        return round(taken, 2)


if __name__ == "__main__":
    main()
