"""A web server of one file that cuts, stalls, redirects and refuses as a test tells it."""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves one file; what it does badly is set by the test."""

    daemon_threads = True

    def __init__(self, data):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.ranges, self.etag = data, True, '"v1"'
        self.total = True  # whether a range is sent with the length of the whole
        self.cut_after = self.stall_after = None  # bytes of each answer
        self.faults = 10**9  # how many answers are bad
        self.status, self.asked, self.slow = None, [], 0.0
        self.url = f"http://127.0.0.1:{self.server_port}/bucket.zip"

    def handle_error(self, *_):
        """Cut connections are what this server is for."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        if self.path.startswith("/moved"):
            return self.head(302, 0, {"Location": self.path.replace("/moved", "")})
        if self.path.startswith("/to-file"):
            return self.head(302, 0, {"Location": "file:///etc/hostname"})
        if server.status and server.faults > 0:
            server.faults -= 1
            return self.head(server.status, 0, {})
        start, more = 0, {}
        wanted = self.headers.get("Range")
        if wanted and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            more = {
                "Content-Range": f"bytes {start}-{len(server.data) - 1}/{len(server.data) if server.total else '*'}"
            }
        body = server.data[start:]
        self.head(206 if more else 200, len(body), more | ({"ETag": server.etag} if server.etag else {}))
        limit = server.cut_after or server.stall_after
        if limit and len(body) > limit and server.faults > 0:
            server.faults -= 1
            self.wfile.write(body[:limit])
            if server.stall_after:
                time.sleep(1)
            self.close_connection = True
            return None
        for at in range(0, len(body), 4096):
            self.wfile.write(body[at : at + 4096])
            time.sleep(server.slow)
        return None

    def head(self, status, length, more):
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass
