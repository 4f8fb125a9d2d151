"""Trivial packages from nothing with -j1, against bubblewrap running /bin/true as often."""

from statistics import median

from .common import row


def run(bench, rounds):
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
        reached.append(row(f"20 packages, {tier}, against bubblewrap", 1000 * median(ours),
                           1000 * median(theirs), "ms", goal))
    return reached
