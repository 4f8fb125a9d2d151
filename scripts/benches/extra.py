"""A package with 1 GB in its extra/, against sha1sum and cp of the same: the id is the files' sums, and the build sees a
copy, whose times do not depend on the checkout. A filesystem with reflinks copies no data; ext4 has none.
"""

from statistics import median

from .common import remove, row

FILES, FILE_BYTES = 10, 100_000_000


def run(bench, rounds):
    tree = bench.tree("extra", {"big": ({}, "true")})
    data = tree / "big/extra"
    data.mkdir()
    with open("/dev/urandom", "rb") as source:
        for number in range(FILES):
            (data / f"noise{number}").write_bytes(source.read(FILE_BYTES))
    bench.own(data)
    copy = bench.folder / "home/copy"
    peer = ["sh", "-c", f"sha1sum {data}/* > {copy}.sums; cp -r --reflink=auto {data} {copy}"]
    bench.mkpanda(tree, "-j1")
    ours, theirs = [], []
    for _ in range(max(1, rounds // 3)):
        bench.forget(tree)
        ours.append(bench.mkpanda(tree, "-j1")[0])
        theirs.append(bench.run(peer)[0])
        remove(copy)
    return [row("1 GB in extra/, against sha1sum and cp", median(ours), median(theirs), "s", 1.3,
                why="the disk is slow at removing the copy as well")]
