"""Trivial packages from nothing with -j1, against bubblewrap running /bin/true as often.

Bubblewrap writes nothing; a build makes and removes about 30 files. So it is measured twice: in memory, where that
costs next to nothing, and on the disk of the benchmark's folder. An ext4 without a journal is slow at it: it looks
for inodes that nobody removed within the last five minutes, with `discard` it waits for the disk at each removal.
"""

import pathlib
import tempfile

from statistics import median

from .common import Bench, remove, row

MEMORY = "/dev/shm"


def run(bench, rounds):
    reached = measure(bench, rounds, "on disk")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mkpanda-bench-", dir=MEMORY))
    try:
        return reached + measure(Bench(folder, bench.binary, bench.user), rounds, "in memory")
    finally:
        remove(folder)


def measure(bench, rounds, where):
    packages = {f"q{n:02}": ({}, "true") for n in range(20)}
    tree = bench.tree("builds", packages)
    bubble = ["bwrap", "--unshare-all", "--ro-bind", bench.root, "/", "--proc", "/proc", "--dev", "/dev",
              "/bin/true"]
    reached = []
    for tier, goal in (("single", 2.0), ("ranges", 2.5)):
        bench.forget(tree)
        bench.mkpanda(tree, "-j1", f"--isolation={tier}")
        ours, theirs = [], []
        for _ in range(rounds):
            bench.forget(tree)
            ours.append(bench.mkpanda(tree, "-j1", f"--isolation={tier}")[0])
            theirs.append(sum(bench.run(bubble)[0] for _ in range(20)))
        reached.append(row(f"20 packages, {tier}, {where}, by bubblewrap", 1000 * median(ours),
                           1000 * median(theirs), "ms", goal,
                           why="this filesystem is slow at making and removing files, or the machine is busy"))
    return reached
