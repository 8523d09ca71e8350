"""Images per second from a bucket to a memory map, against the limit: decoding alone, from memory.

python benchmarks/bench_prepare.py BUCKET [--image-size 224] [--limit 2000]
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from visrec.config import Settings
from visrec.data.images import decode
from visrec.data.layouts import read_bucket
from visrec.data.prepare import BUNCH, prepare
from visrec.data.processors import processors
from visrec.data.sample import limit_samples
from visrec.data.split import assign_splits
from visrec.storage.buckets import open_bucket
from visrec.storage.parallel import results


def main() -> None:
    """Measure by turns, print the best of each as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bucket")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    store = open_bucket(args.bucket, Settings.load())
    table = read_bucket(store)
    samples = limit_samples(assign_splits(table), args.limit)
    decoding = whole = float("inf")
    for _ in range(args.rounds):  # by turns, so that a neighbour on the machine disturbs both
        decoding = min(decoding, _decode_alone(store, samples, args.image_size))
        whole = min(whole, _prepare(store, samples, args.image_size, table.objects))
    count = len(samples)
    print(
        json.dumps(
            {
                "images": count,
                "image_size": args.image_size,
                "processors": processors(),
                "decode_alone_per_s": round(count / decoding),
                "prepare_per_s": round(count / whole),
                "share_of_limit": round(decoding / whole, 3),
            }
        )
    )


def _decode_alone(store, samples, size: int) -> float:
    held = [data for _, data in store.read_many(samples["file"])]
    jobs = [held[at : at + BUNCH] for at in range(0, len(held), BUNCH)]
    started = time.monotonic()
    for _ in results(lambda job: [decode(data, size) for data in job], jobs, threads=processors()):
        pass
    return time.monotonic() - started


def _prepare(store, samples, size: int, objects: dict) -> float:
    cache = Path(tempfile.mkdtemp())
    try:
        return prepare(store, samples, size, cache, objects=objects).seconds
    finally:
        shutil.rmtree(cache)


if __name__ == "__main__":
    main()
