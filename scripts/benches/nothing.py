"""`mkpanda tree` where nothing is to be done: 100 packages that were built, 10,000 whose archives are pretended."""

import subprocess
from statistics import median

from .common import remove, row

MANY = 10_000


def small(bench, rounds):
    packages = {f"p{n:03}": ({"requires": [f"p{n - 1:03}"]} if n % 10 else {}, "echo done > $PKG_PATH/file")
                for n in range(100)}
    tree = bench.tree("nothing", packages)
    bench.mkpanda(tree)
    runs = [bench.mkpanda(tree)[0] for _ in range(5 * rounds)]
    return [row("nothing to do, 100 packages", 1000 * median(runs), None, "ms", 20)]


def requirements(number):
    """The package before in its row of ten, and the one at the same place in the group of 1,000 before: up to 110
    packages are behind each."""
    before = [number - 1] if number % 10 else []
    return [f"p{n:05}" for n in before + [number - 1000] if n >= 0]


def large(bench, rounds):
    tree = bench.tree("nothing-large", {f"p{n:05}": ({"requires": requirements(n)}, "true") for n in range(MANY)})
    listed = subprocess.run([bench.binary, "-C", tree, "tree", "--dry-run"], check=True, stdout=subprocess.PIPE,
                            text=True, env=bench.environment).stdout
    # What lies in an archive is looked at when somebody needs it, so these may be empty.
    ids = [line.split()[1] for line in listed.splitlines() if len(line.split()) > 1 and "--" in line.split()[1]]
    assert len(ids) == MANY, listed
    for package in ids:
        folder = tree / "cache/packages" / package.split("--")[0]
        folder.mkdir(parents=True)
        (folder / f"{package}.tar.xz").touch()
    bench.own(tree)
    bench.mkpanda(tree)
    runs = [bench.mkpanda(tree) for _ in range(rounds)]
    remove(tree)
    what = "nothing to do, 10,000 packages"
    return [
        row(what, 1000 * median([r[0] for r in runs]), None, "ms", 1000),
        row(f"{what}: memory", median([r[1] for r in runs]) / 1e6, None, "MB", 200),
    ]


def run(bench, rounds):
    return small(bench, rounds) + large(bench, rounds)
