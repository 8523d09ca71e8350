"""Objects per second read from an S3 server: the project's verifying reader against boto3 and bare obstore, in one run.

The server must be faster than its clients; its own limit is printed first (raw HTTP over kept connections). Objects are
written if they are not there.

    ENDPOINT_URL=http://127.0.0.1:7480 ACCESS_KEY_ID=... SECRET_ACCESS_KEY=... \\
        python benchmarks/bench_storage.py BUCKET [--count 5000] [--size 20000]
"""

import argparse
import http.client
import json
import random
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from visrec.config import Settings
from visrec.storage.bulk import bulk_getter
from visrec.storage.s3 import S3Store

PREFIX = "visrec-bench"


def main() -> None:
    """Measure each reader twice, print the better rate as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bucket")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--size", type=int, default=20_000)
    args = parser.parse_args()
    settings = Settings.load().s3
    store = S3Store(args.bucket, PREFIX, settings)
    keys = _fill(store, args.count, args.size)
    readers = {
        "server_limit": lambda: _raw(store, keys),
        "visrec": lambda: [data for _, data in store.read_many(keys)],
        "obstore_bare": lambda: _threads(bulk_getter(store), keys, 16),
        "boto3_32_threads": lambda: _threads(store.get, keys, 32),
        "boto3_sequential": lambda: [store.get(key) for key in keys[: max(1, len(keys) // 10)]],
    }
    rates = {name: max(_rate(read) for _ in range(2)) for name, read in readers.items()}
    print(json.dumps({"count": len(keys), "size": args.size, "per_s": rates,
                      "visrec_over_boto3_32": round(rates["visrec"] / rates["boto3_32_threads"], 2)}))  # fmt: skip


def _fill(store: S3Store, count: int, size: int) -> list[str]:
    have = {info.key for info in store.list()}
    keys = [f"{number:06}.jpg" for number in range(count)]
    dice = random.Random(0)
    missing = [(key, dice.randbytes(size)) for key in keys if key not in have]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda pair: store.write(*pair), missing))
    list(store.list())
    return keys


def _rate(read) -> int:
    started = time.monotonic()
    count = len(read())
    return round(count / (time.monotonic() - started))


def _threads(get, keys: list[str], threads: int) -> list:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(get, keys))


def _raw(store: S3Store, keys: list[str], threads: int = 8) -> list:
    """Presigned GETs over kept connections, signed beforehand: about what the server can give."""
    urls = [
        store.client.generate_presigned_url("get_object", Params={"Bucket": store.bucket, "Key": store.prefix + key})
        for key in keys
    ]

    def fetch(part: list[str]) -> list[bytes]:
        parsed = [urllib.parse.urlsplit(url) for url in part]
        kind = http.client.HTTPSConnection if parsed[0].scheme == "https" else http.client.HTTPConnection
        connection = kind(parsed[0].netloc)
        found = []
        for url in parsed:
            connection.request("GET", f"{url.path}?{url.query}")
            found.append(connection.getresponse().read())
        return found

    with ThreadPoolExecutor(threads) as pool:
        return [data for part in pool.map(fetch, [urls[n::threads] for n in range(threads)]) for data in part]


if __name__ == "__main__":
    main()
