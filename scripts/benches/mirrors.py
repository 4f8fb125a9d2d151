"""`mkpanda mirror create` of a tree whose sources have 1 GB, which have been fetched, against `cp` of the same bytes: both
to the disk. The same again with nothing changed: one look at each file. Then all of it as one archive.
"""

import hashlib
from statistics import median

from .common import remove, row

FILES, FILE_BYTES = 10, 100_000_000


def run(bench, rounds):
    sources = bench.folder / "home/sources"
    sources.mkdir()
    packages = {}
    with open("/dev/urandom", "rb") as noise:
        for number in range(FILES):
            content, file = noise.read(FILE_BYTES), sources / f"noise{number}.bin"
            file.write_bytes(content)
            source = {"kind": "url", "url": f"file://{file}", "sha1": hashlib.sha1(content).hexdigest()}
            packages[f"m{number}"] = ({"single_source": source}, "true")
    bench.own(sources)
    tree = bench.tree("mirrors", packages)
    bench.run([bench.binary, "-C", tree, "fetch"])
    copied = bench.folder / "home/copied"
    ours, again, archived, theirs = [], [], [], []
    for turn in range(max(1, rounds)):
        mirror, archive = (bench.folder / f"home/mirror{turn}{end}" for end in ("", ".tar"))
        create = [bench.binary, "-C", tree, "mirror", "create"]
        ours.append(bench.run([*create, mirror])[0])
        again.append(bench.run([*create, mirror])[0])
        archived.append(bench.run([*create, archive])[0])
        theirs.append(bench.run(["sh", "-c", f"cp -r {sources} {copied}; sync {copied}/*"])[0])
        for path in (mirror, archive, copied):
            remove(path)
    sha = "it also takes the SHA-256 of each file, which the lock file of the mirror has"
    return [row("a mirror of 1 GB, against cp and sync", median(ours), median(theirs), "s", 1.5, why=sha),
            row("the same mirror again, nothing changed", 1000 * median(again), None, "ms", 1000),
            row("the same as an archive, against cp and sync", median(archived), median(theirs), "s", 1.5, why=sha)]
