"""An image of 200 MB pulled from a registry on this machine and unpacked, against `podman pull`; and pulled again.

Both pull as the same user, and leave the image unpacked and ready to run: what is counted is one command each. Their
storages are new ones each time, podman's with its overlay driver, as it has it by default. The image that is there
already is pulled in one request, which is counted by a relay before the registry.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from statistics import median

from . import images
from .common import remove, row

NAME = "usr:1"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def registry(folder):
    """A registry, and its host and port."""
    if not shutil.which("docker-registry"):
        sys.exit("bench: docker-registry is not installed; run: scripts/test prepare")
    host, config = f"127.0.0.1:{free_port()}", folder / "registry.yml"
    config.write_text(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                      f"storage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}}}\nhttp: {{addr: '{host}'}}\n")
    server = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(host.split(":")[1])), 1).close()
                break
            except OSError:
                if time.monotonic() > until:
                    sys.exit("bench: the registry doesn't start")
                time.sleep(0.02)
        yield host
    finally:
        server.kill()
        server.wait()


class Relay:
    """Passes bytes on to a server and counts the requests in them."""

    def __init__(self, host):
        self.target = ("127.0.0.1", int(host.split(":")[1]))
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.target)
            for source, target, seen in ((client, server, self.requests), (server, client, None)):
                threading.Thread(target=self.copy, args=(source, target, seen), daemon=True).start()

    @staticmethod
    def copy(source, target, seen):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if seen is not None:
                    seen.extend(re.findall(rb"(?:^|\r\n\r\n)((?:GET|HEAD|POST) [^ ]+) HTTP", data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def run(bench, rounds):
    folder = bench.folder / "pull"
    (folder / "out").mkdir(parents=True)
    images.make(bench, folder)
    bench.own(folder / "out")
    config = bench.folder / "home/.config/mkpanda"
    usual, numbers = dict(bench.environment), iter(range(1000))
    with registry(folder) as host:
        relay = Relay(host)
        for name in (host, relay.host):
            subprocess.run(["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false",
                            f"oci:{folder / 'layout'}:1", f"docker://{host}/{NAME}"], check=True)
        config.mkdir(parents=True)
        (config / "config.toml").write_text("".join(f'[registries."{name}"]\ninsecure = true\n'
                                                    for name in (host, relay.host)))
        bench.own(bench.folder / "home")

        def fresh():
            # Nothing is removed before the end: ext4 looks longer for the inodes of new files after that.
            os.sync()
            place = folder / f"out/{next(numbers)}"
            place.mkdir()
            bench.own(place)
            return place

        def ours(name):
            bench.environment["MKPANDA_HOME"] = str(fresh())
            return bench.run([bench.binary, "image", "pull", f"{name}/{NAME}"])

        def theirs():
            place = fresh()
            state = pathlib.Path("/tmp") / f"mkpanda-bench-run-{os.getpid()}-{place.name}"
            state.mkdir()
            bench.own(state)
            bench.environment["XDG_RUNTIME_DIR"] = str(state)
            pulled = bench.run(["podman", "--root", place / "root", "--runroot", state / "run",
                                "--storage-driver", "overlay", "pull", "--quiet", "--tls-verify=false",
                                f"{host}/{NAME}"])
            # Podman leaves a process that holds its namespaces.
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((state / "libpod/tmp/pause.pid").read_text()), signal.SIGKILL)
            remove(state)
            return pulled

        pairs = [(ours(host), theirs()) for _ in range(rounds)]
        rows = [row("pulling an image of 200 MB", median([p[0][0] for p in pairs]),
                    median([p[1][0] for p in pairs]), "s", 0.5, 2),
                row("  memory", median([p[0][1] for p in pairs]) / 1e6, median([p[1][1] for p in pairs]) / 1e6,
                    "MB", 1)]
        ours(relay.host)
        before = len(relay.requests)
        again = bench.run([bench.binary, "image", "pull", f"{relay.host}/{NAME}"])[0]
        rows.append(row("pulling what is there: requests", len(relay.requests) - before, None, "", 1, 0))
        print(f"  in {again * 1000:.0f} ms", flush=True)
    bench.environment.clear()
    bench.environment.update(usual)
    remove(folder / "out")
    return rows
