"""10,000 packages built by a simulated engine of the Remote Execution API: a random graph, 50 workers, 20 ms before each
answer of the engine, and half a second to one and a half for each package.

The engine is that of the tests (tests/it/remote_execution/scale.rs) and runs on the same cores. The peer of the time is
the lower limit that the graph sets: its longest chain, or all work divided by the workers. MKPANDA_SCALE and
MKPANDA_SCALE_WORKERS change the numbers. Not as bench's user: nothing runs in containers here.
"""

import json
import os
import subprocess
import sys

from .common import REPO, row

PACKAGES = os.environ.get("MKPANDA_SCALE", "10000")
WORKERS = os.environ.get("MKPANDA_SCALE_WORKERS", "50")
TEST = "remote_execution::scale::a_random_graph_is_built_by_many_workers"


def test_program():
    made = subprocess.run(["cargo", "test", "--quiet", "--locked", "--test", "it", "--no-run", "--message-format=json"],
                          cwd=REPO, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in made.splitlines() if line.startswith("{")]
    return next(line["executable"] for line in lines if line.get("executable") and line["target"]["name"] == "it")


def run(bench, _rounds):
    environment = {**os.environ, "MKPANDA_BIN": str(bench.binary), "MKPANDA_SCALE": PACKAGES,
                   "MKPANDA_SCALE_WORKERS": WORKERS, "MKPANDA_SCALE_FIGURES": str(bench.folder / "engine.json")}
    ran = subprocess.run([test_program(), TEST, "--exact"], cwd=REPO, env=environment, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if ran.returncode:
        sys.exit(f"bench: {TEST} failed:\n{ran.stdout[-4000:]}")
    figures = json.loads((bench.folder / "engine.json").read_text())
    what = f"{int(PACKAGES):,} packages, {WORKERS} workers"
    print(f"  {figures}", flush=True)
    return [
        row(what, figures["took"], figures["bound"], "s", 1.1),
        row(f"{what}: memory", figures["memory"] / 1e6, None, "MB", 500),
        row(f"{what}: until the first", figures["before the first"], None, "s", 5),
    ]
