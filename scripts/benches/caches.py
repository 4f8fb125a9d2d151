"""100 packages that a shared cache has, behind a web server that answers 40 ms late: 20 ms each way."""

import functools
import http.server
import threading
import time

from statistics import median

from .common import Bench, row

LATENCY = 0.040


class Late(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, each answer late."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep(LATENCY)
        super().do_GET()

    def log_message(self, *_):
        pass


def run(bench: Bench, rounds):
    tree = bench.tree("caches", {f"q{number:03}": ({}, "true") for number in range(100)})
    cache = bench.folder / "home/cache"
    bench.mkpanda(tree, f"--cache={cache}")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Late, directory=cache))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    taken = []
    try:
        for _ in range(rounds):
            bench.forget(tree)
            taken.append(bench.mkpanda(tree, f"--cache=http://127.0.0.1:{server.server_port}/")[0])
    finally:
        server.shutdown()
        server.server_close()
    return [row("100 packages from a cache 20 ms away", 1000 * median(taken), None, "ms", 1000,
                why="the machine is busy")]
