"""A loopback HTTP server for the sources, with the faults that a scenario asks for."""

import http.server
import pathlib
import threading
import time


class Server:
    """Serves a folder. `faults` maps a path to what is done to its next answers: 'cut' ends a body half-way,
    'stall' says half of it and waits for `go`, 'drip' is slow, a number is a status."""

    def __init__(self, folder):
        self.folder, self.faults, self.asked = pathlib.Path(folder), {}, []
        self.go = threading.Event()
        self.port = 0
        self.start()

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A client that was killed is what this is about."""

        self.inner = Quiet(("127.0.0.1", self.port), Handler)
        self.port = self.inner.server_port
        threading.Thread(target=self.inner.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        """Nobody listens any more; the port is kept for the next start."""
        self.inner.shutdown()
        self.inner.server_close()

    def url(self, path=""):
        return f"http://127.0.0.1:{self.port}/{path}"

    def answer(self, request):
        path = request.path.split("?")[0].lstrip("/")
        self.asked.append(path)
        fault = self.faults.get(path, [None])
        fault = fault.pop(0) if len(fault) else None
        file = self.folder / path
        if isinstance(fault, int) or not file.is_file():
            request.send_error(fault if isinstance(fault, int) else 404)
            return
        body, first = file.read_bytes(), 0
        wanted = request.headers.get("Range")
        if wanted and request.headers.get("If-Range") == '"it"':
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(body) - first))
        request.send_header("ETag", '"it"')
        request.end_headers()
        rest = body[first:]
        if fault in ("cut", "stall"):
            request.wfile.write(rest[:len(rest) // 2])
            request.wfile.flush()
            if fault == "stall":
                self.go.wait(120)
            request.close_connection = True
            return
        if fault == "drip":
            for start in range(0, len(rest), 1 + len(rest) // 20):
                request.wfile.write(rest[start:start + 1 + len(rest) // 20])
                time.sleep(0.02)
            return
        request.wfile.write(rest)
