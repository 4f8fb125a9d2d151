"""Packages of 300 MB, against `tar --sort=name | xz -6` with as many threads: time, size, peak memory of the largest
process. Sorted, since what stands near what else decides 1 % of the size, and our order is that of the names.

It takes minutes, so a third of the rounds has to do. One is of programs, one of noise, as what is compressed already is.
"""

import os
from statistics import median

from .common import THREADS, fill, machine_files, remove, row, static_pkgpanda
from .host import options_for

PACKED_BYTES = 300_000_000


def noise(folder):
    with open("/dev/urandom", "rb") as source:
        for number in range(10):
            (folder / f"noise{number}").write_bytes(source.read(PACKED_BYTES // 10))


def compare(bench, rounds, name, make):
    tree = bench.tree(name, {"big": ({}, "cp -r /pkg/extra/. $PKG_PATH/")})
    data = tree / "big/extra"
    data.mkdir()
    make(data)
    bench.own(data)
    packed = bench.folder / "home/peer.tar.xz"
    peer = ["sh", "-c", f"tar -C {data} --sort=name -c . | xz -6 -T{THREADS} > {packed}"]
    ours, theirs = [], []
    for _ in range(max(1, rounds // 3)):
        bench.forget(tree)
        ours.append(bench.mkpanda(tree, "-j1"))
        theirs.append(bench.run(peer))
    (archive,) = (tree / "cache/packages/big").glob("*.tar.xz")
    return (archive, [median(column) for column in zip(*ours)], [median(column) for column in zip(*theirs)],
            (archive.stat().st_size / 1e6, packed.stat().st_size / 1e6))


def added(bench, rounds, archive):
    """Seconds to unpack a package, against tar with as many threads."""
    pkgpanda, ours, theirs = static_pkgpanda(bench), [], []
    for number in range(max(1, rounds)):
        place, folder = bench.folder / f"added{number}", bench.folder / f"untarred{number}"
        for made in (place / "packages", place / "root", folder):
            made.mkdir(parents=True)
        bench.own(place)
        bench.own(folder)
        os.sync()
        ours.append(bench.run([pkgpanda, "add", archive, *options_for(place)])[0])
        os.sync()
        theirs.append(bench.run(["tar", "-I", f"xz -T{THREADS}", "-xf", archive, "-C", folder])[0])
        remove(place)
        remove(folder)
    return median(ours), median(theirs)


def run(bench, rounds):
    archive, ours, theirs, sizes = compare(bench, rounds, "packing",
                                           lambda folder: fill(folder, PACKED_BYTES, machine_files()))
    what = f"300 MB against tar | xz -6 -T{THREADS}"
    reached = [
        row(f"{what}: time", ours[0], theirs[0], "s", 0.65),
        row(f"{what}: size", *sizes, "MB", 1, 2),
        row(f"{what}: memory", ours[1] / 1e6, theirs[1] / 1e6, "MB", 1.1),
    ]
    reached.append(row(f"pkgpanda add of it against tar -I 'xz -T{THREADS}' -xf", *added(bench, rounds, archive), "s", 1))
    _, ours, theirs, sizes = compare(bench, 1, "noise", noise)
    return reached + [
        row(f"300 MB of noise against xz -6 -T{THREADS}: time", ours[0], theirs[0], "s", 0.2),
        # What the headers of a package's two own files take.
        row("the same: size", *sizes, "MB", 1.0001, 2),
    ]
