"""Objects per second read from an S3 server: the project's verifying reader against boto3 and bare obstore, in one run.

The server is Debian's RADOS Gateway on loopback (`benchmarks/radosgw.py`), started and ended here; where it is not
installed, moto's, with a sentence, for moto gives some 400 objects a second to anybody. The server must be faster than
its clients: its own limit, requests signed and sent ahead over bare sockets, stands in the answer, with the processor
time that server and clients take for an object. Readers take turns, so that a neighbour on the machine disturbs all of
them; the best of the rounds counts.

    python benchmarks/bench_storage.py [--count 5000] [--size 20000] [--rounds 3]

With ENDPOINT_URL, ACCESS_KEY_ID and SECRET_ACCESS_KEY set, ``--bucket NAME`` measures that store instead.
"""

import argparse
import contextlib
import json
import os
import random
import selectors
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import radosgw

from visrec.config import S3Settings, Settings
from visrec.storage.bulk import bulk_getter
from visrec.storage.s3 import S3Store, client

PREFIX = "visrec-bench"
TARGET = 3.0  # times boto3 with 32 threads


def main() -> None:
    """Measure each reader by turns, print the best rates as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bucket", help="of the store in the environment; default: a server of our own")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with _server(args.bucket) as (name, settings, bucket):
        store = S3Store(bucket, PREFIX, settings)
        keys = _fill(store, args.count, args.size)
        print(json.dumps({"server": name, "size": args.size, **_measure(store, keys, args.rounds)}))


@contextlib.contextmanager
def _server(bucket: str | None) -> Iterator[tuple[str, S3Settings, str]]:
    if bucket:
        yield "environment", Settings.load().s3, bucket
        return
    absent = radosgw.missing()
    if absent:
        print(
            f"radosgw cannot be started here ({', '.join(absent)} missing): moto is measured instead, which is slower "
            "than its clients and hides their difference.",
            file=sys.stderr,
        )
    with _moto() if absent else radosgw.local_radosgw() as settings:
        client(settings).create_bucket(Bucket="bench")
        yield "moto" if absent else "radosgw", settings, "bench"


@contextlib.contextmanager
def _moto() -> Iterator[S3Settings]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield S3Settings(access_key_id="a", secret_access_key="b", endpoint_url=f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()


def _measure(store: S3Store, keys: list[str], rounds: int) -> dict:
    some = keys[: max(1, len(keys) // 10)]  # one after another takes long
    address, requests = _signed(store, keys)
    readers = {
        "server_limit": lambda: _raw(address, requests),
        "visrec": lambda: _whole(store.read_many(keys)),
        "obstore_bare": lambda: _threads(bulk_getter(store), keys, 16),
        "boto3_32_threads": lambda: _threads(store.get, keys, 32),
        "boto3_sequential": lambda: [store.get(key) for key in some],
    }
    rates = dict.fromkeys(readers, 0)
    processor, served = (dict.fromkeys(readers, float("inf")) for _ in range(2))
    for _ in range(rounds):
        for name, read in readers.items():
            started, used, server = time.monotonic(), time.process_time(), _children_seconds()
            count = len(read())
            rates[name] = max(rates[name], round(count / (time.monotonic() - started)))
            processor[name] = min(processor[name], round((time.process_time() - used) / count * 1000, 3))
            served[name] = min(served[name], round((_children_seconds() - server) / count * 1000, 3))
    ratio = round(rates["visrec"] / rates["boto3_32_threads"], 2)
    return {
        "count": len(keys), "objects_per_s": rates, "client_processor_ms_per_object": processor,
        "server_processor_ms_per_object": served,
        "visrec_over_boto3_32_threads": ratio, "target": TARGET, "met": ratio >= TARGET,
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def _children_seconds() -> float:
    """Processor seconds of the servers started here."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _fill(store: S3Store, count: int, size: int) -> list[str]:
    have = {info.key for info in store.list()}
    keys = [f"{number:06}.jpg" for number in range(count)]
    dice = random.Random(0)
    missing = [(key, dice.randbytes(size)) for key in keys if key not in have]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda pair: store.write(*pair), missing))
    list(store.list())
    return keys


def _whole(reads: Iterator[tuple[str, bytes | Exception]]) -> list[bytes]:
    found = []
    for _, data in reads:
        if isinstance(data, Exception):
            raise data
        found.append(data)
    return found


def _threads(get, keys: list[str], threads: int) -> list:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(get, keys))


def _signed(store: S3Store, keys: list[str]) -> tuple[tuple[str, int], list[bytes]]:
    """The server's address and a ready request for each key."""
    urls = [
        urllib.parse.urlsplit(
            store.client.generate_presigned_url("get_object", Params={"Bucket": store.bucket, "Key": store.prefix + k})
        )
        for k in keys
    ]
    requests = [f"GET {u.path}?{u.query} HTTP/1.1\r\nHost: {u.netloc}\r\n\r\n".encode() for u in urls]
    return (urls[0].hostname, urls[0].port), requests


def _raw(address: tuple[str, int], requests: list[bytes], connections: int = 8) -> list[int]:
    """GETs signed beforehand and sent ahead over kept connections, bodies counted and thrown away: the server's limit.

    One thread waits for all connections, so that the client takes as little as can be of the cores they share.
    """
    answered: list[int] = []
    with selectors.DefaultSelector() as waiting, contextlib.ExitStack() as stack:
        for n in range(connections):
            line = stack.enter_context(contextlib.closing(_Line(address, requests[n::connections])))
            waiting.register(line.socket, selectors.EVENT_READ, line)
        while waiting.get_map():
            for key, _ in waiting.select():
                answered += key.data.take()
                if key.data.done:
                    waiting.unregister(key.fileobj)
    return answered


class _Line:
    """One connection with a few requests always under way."""

    AHEAD = 8

    def __init__(self, address: tuple[str, int], requests: list[bytes]):
        self.socket = socket.create_connection(address)
        self.close = self.socket.close
        self.requests = requests
        self.left = len(requests)
        self.head, self.body, self.size = b"", 0, 0
        self._send(self.AHEAD)

    @property
    def done(self) -> bool:
        return not self.left

    def _send(self, count: int) -> None:
        self.socket.sendall(b"".join(self.requests[:count]))
        del self.requests[:count]

    def take(self) -> list[int]:
        """The sizes of the bodies that ended with what has arrived."""
        data, ended = self.socket.recv(1 << 18), []
        if not data:
            raise ConnectionError("the server closed the line")
        while data:
            if self.body:
                part = min(self.body, len(data))
                self.body, data = self.body - part, data[part:]
            else:
                head, found, data = (self.head + data).partition(b"\r\n\r\n")
                if not found:
                    self.head = head
                    break
                self.head = b""
                self.body = self.size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                if not head.startswith(b"HTTP/1.1 200"):
                    raise ConnectionError(head.split(b"\r\n", 1)[0].decode())
            if not self.body:
                ended.append(self.size)
        self.left -= len(ended)
        self._send(len(ended))
        return ended


if __name__ == "__main__":
    main()
