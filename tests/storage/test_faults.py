"""A store reached through a bad network: every object arrives with the right bytes, whatever is done to one in ten."""

import hashlib
import random
import socket
import struct
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

import pytest

from visrec.config import S3Settings
from visrec.storage.s3 import S3Store

COUNT, SIZE = 2000, 20_000
FAULTS = ("delay", "reset", "truncate", "stall", "shorten", "flip", "503")
RATE = 0.1
STALLS = 12  # each costs a reader its whole read timeout
DARK_SECONDS = 3.0


class BadServer(ThreadingHTTPServer):
    """An S3 server of random objects that spoils one answer in ten, and once goes dark."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        dice = random.Random(0)
        self.objects = {f"train/{n:05} ü.jpg": dice.randbytes(SIZE) for n in range(COUNT)}
        self.etags = {key: hashlib.md5(data).hexdigest() for key, data in self.objects.items()}
        self.dice, self.lock = random.Random(1), threading.Lock()
        self.done = dict.fromkeys(FAULTS, 0)
        self.gets, self.dark_until = 0, 0.0

    def draw(self) -> str | None:
        with self.lock:
            self.gets += 1
            if self.gets == COUNT // 2:
                self.dark_until = time.monotonic() + DARK_SECONDS
            if self.dice.random() >= RATE:
                return None
            fault = self.dice.choice(FAULTS)
            if fault == "stall" and self.done["stall"] >= STALLS:
                fault = "reset"
            self.done[fault] += 1
            return fault

    def handle_error(self, *_):
        """Resets are what this server is for."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if self.server.dark_until > time.monotonic():
            return self.cut()
        if "list-type" in query:
            return self.answer(self.listing(query.get("continuation-token", "")))
        key = urllib.parse.unquote(url.path).removeprefix("/bucket/")
        data = self.server.objects[key]
        return self.spoil(self.server.draw(), data, self.server.etags[key])

    def spoil(self, fault, data, etag):
        if fault == "delay":
            time.sleep(0.3)
        elif fault == "reset":
            return self.cut()
        elif fault == "503":
            return self.answer(b"<Error><Code>SlowDown</Code></Error>", status=503)
        elif fault in ("truncate", "stall"):
            self.head(200, len(data), etag)
            self.wfile.write(data[: SIZE // 3])
            if fault == "stall":
                time.sleep(25)
            return self.cut()
        elif fault == "shorten":
            data = data[: SIZE // 2]
        elif fault == "flip":
            where = self.server.dice.randrange(SIZE)
            data = data[:where] + bytes([data[where] ^ 4]) + data[where + 1 :]
        return self.answer(data, etag)

    def listing(self, token):
        keys = sorted(self.server.objects)
        page = [k for k in keys if k > token][:1000]
        items = "".join(
            f"<Contents><Key>{escape(urllib.parse.quote(k))}</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{self.server.etags[k]}&quot;</ETag><Size>{SIZE}</Size></Contents>"
            for k in page
        )
        more = page and page[-1] < keys[-1]
        end = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        text = f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(bool(more)).lower()}</IsTruncated>"
        return f"<?xml version='1.0'?>{text}{end}{items}</ListBucketResult>".encode()

    def head(self, status, length, etag=""):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()

    def answer(self, data, etag="", status=200):
        self.head(status, len(data), etag)
        self.wfile.write(data)

    def cut(self):
        """End the connection the hard way: the client gets a reset."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_every_object_arrives_whole_through_a_bad_network():
    """Delays, resets, truncation, stalls, short bodies of matching length, flipped bits, 503, and 3 s of darkness."""
    server = BadServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        store = S3Store("bucket", "", S3Settings(None, "key", "secret", f"http://127.0.0.1:{server.server_port}"))
        listed = [info.key for info in store.list()]
        arrived = dict(store.read_many(listed))
    finally:
        server.shutdown()
        server.server_close()

    assert COUNT == len(listed)
    assert dict.fromkeys(listed, "right") == {
        key: "right" if arrived[key] == data else repr(arrived[key])[:200] for key, data in server.objects.items()
    }
    assert all(server.done.values()), server.done
