"""A package of 300 MB, against `tar | xz -6` with as many threads: time, size, peak memory of the largest process."""

import os
import shutil
import sys
from statistics import median

from .common import THREADS, row

PACKED_BYTES = 300_000_000


def fill(folder):
    """Copies what a machine has in /usr/lib, in the order of names, until it is 300 MB."""
    room = PACKED_BYTES
    for path, folders, names in os.walk("/usr/lib"):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(path, name)
            if os.path.islink(file) or not os.access(file, os.R_OK) or os.path.getsize(file) > 50_000_000:
                continue
            target = folder / os.path.relpath(file, "/usr/lib")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            room -= os.path.getsize(file)
            if room < 0:
                return
    sys.exit(f"bench: /usr/lib has no {PACKED_BYTES // 1_000_000} MB to pack")


def run(bench, rounds):
    tree = bench.tree("packing", {"big": ({}, "cp -r /pkg/extra/. $PKG_PATH/")})
    data = tree / "big/extra"
    data.mkdir()
    fill(data)
    bench.own(data)
    packed = bench.folder / "home/peer.tar.xz"
    peer = ["sh", "-c", f"tar -C {data} -c . | xz -6 -T{THREADS} > {packed}"]
    ours, theirs = [], []
    for _ in range(rounds):
        bench.forget(tree)
        ours.append(bench.mkpanda(tree, "-j1"))
        theirs.append(bench.run(peer))
    (archive,) = (tree / "cache/packages/big").glob("*.tar.xz")
    what = f"300 MB against tar | xz -6 -T{THREADS}"
    return [
        row(f"{what}: time", median([r[0] for r in ours]), median([r[0] for r in theirs]), "s", 1.15),
        row(f"{what}: size", archive.stat().st_size / 1e6, packed.stat().st_size / 1e6, "MB", 1.005, 2),
        row(f"{what}: memory", median([r[1] for r in ours]) / 1e6, median([r[1] for r in theirs]) / 1e6,
            "MB", 1.1),
    ]
