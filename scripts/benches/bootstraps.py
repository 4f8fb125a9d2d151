"""A new bootstrap after one package of 80 has changed, against compressing and copying what that takes.

The peer compresses the changed package alone and copies the rest. The builds themselves aren't measured. Then a
bootstrap of 80 tiny packages, against its own tar compressed as one piece: what parting it costs.
"""

import lzma
from statistics import median

from .common import THREADS, fill, machine_files, remove, row

PACKAGE_BYTES = 1_500_000


def bootstrap(tree):
    latest = (tree / "cache/bootstrap/bootstrap.latest").read_text()
    return tree / f"cache/bootstrap/{latest}.bootstrap.tar.xz"


def run(bench, rounds):
    names = [f"p{number:02}" for number in range(80)]
    tree = bench.tree("bootstraps", {name: ({}, f"mkdir $PKG_PATH/{name}\ncp -r /pkg/extra/. $PKG_PATH/{name}/")
                                     for name in names})
    files = machine_files()
    for name in names:
        (tree / name / "extra").mkdir()
        fill(tree / name / "extra", PACKAGE_BYTES, files)
    bench.own(tree)
    built = bench.mkpanda(tree)[0]
    remove(bench.folder / "home/mkpanda/parts")
    full = bench.mkpanda(tree, "--mkbootstrap")[0]
    copied = bench.folder / "home/peer"
    peer = ["sh", "-c", f"tar -C {tree}/p40/extra -c . | xz -6 -T{THREADS} > {copied}; "
                        f"cat {bootstrap(tree)} >> {copied}; sync -d {copied}"]
    ours, theirs = [], []
    for number in range(rounds):
        with open(tree / "p40/build", "a") as script:
            script.write(f"# {number}\n")
        bench.mkpanda(tree)
        ours.append(bench.mkpanda(tree, "--mkbootstrap")[0])
        theirs.append(bench.run(peer)[0])
    size = bootstrap(tree).stat().st_size / 1e6
    reached = [
        row("the first bootstrap of 80 packages, against building them", full, built, "s", 0.15,
            why="blocks are decoded to compare, and what has no large files is decoded and encoded with other headers"),
        row(f"one of 80 changed: new bootstrap, {size:.0f} MB", median(ours), median(theirs), "s", 1.5, 2,
            why="all of it is checked, summed and synced, which the peer's cat doesn't do"),
        row("the same, against all of it anew", median(ours), full, "s", 0.15, 2),
    ]
    tiny = bench.tree("tiny", {name: ({"environment": {name.upper(): name}}, f"mkdir $PKG_PATH/bin\n"
                                      f"for n in 1 2 3; do echo {name} $n > $PKG_PATH/bin/{name}-$n; done")
                               for name in names})
    bench.mkpanda(tiny, "--mkbootstrap")
    packed = bootstrap(tiny).read_bytes()
    whole = lzma.compress(lzma.decompress(packed), check=lzma.CHECK_CRC64, preset=6)
    reached.append(row("80 tiny packages: size", len(packed) / 1e3, len(whole) / 1e3, "kB", 1.5, 2,
                       why="parts of packages share no dictionary"))
    return reached
