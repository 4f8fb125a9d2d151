"""`mkpanda release create` of examples/hello into a folder, with everything built: each run into a new one. An
installer with a package of 300 MB of noise, against `cat` of the same bytes: both to the disk."""

import os
import shutil
from statistics import median

from .common import REPO, remove, row

CONFIG = """storage:
  local: {{kind: local_path, path: {store}}}
options: {{preferred: local, cloudformation_s3_url: https://s3.example/bucket, pkgpanda: {pkgpanda}}}
"""

# A 64-bit executable without a dynamic linker, as far as its headers say: a program of 8 MB in size.
HEADER = (b"\x7fELF\x02\x01\x01" + bytes(9) + bytes([2, 0, 62, 0, 1, 0, 0, 0]) + bytes(8)
          + (64).to_bytes(8, "little") + bytes(12) + bytes([64, 0, 56, 0, 1, 0]))
PROGRAM = (HEADER.ljust(64, b"\0") + (1).to_bytes(4, "little")).ljust(8 << 20, b"\0")


def run(bench, rounds):
    checkout, pkgpanda, store = (bench.folder / name for name in ("release", "release-pkgpanda", "release-store"))
    shutil.copytree(REPO / "examples/hello", checkout, ignore=shutil.ignore_patterns("cache"))
    pkgpanda.write_bytes(PROGRAM)
    (checkout / "dcos-release.config.yaml").write_text(CONFIG.format(store=store, pkgpanda=pkgpanda))
    store.mkdir()
    for path in (checkout, pkgpanda, store):
        bench.own(path)
    bench.environment["DCOS_IMAGE_COMMIT"] = "0" * 40
    command = [bench.binary, "-C", checkout, "release", "create", "bench", "1.0", "default"]
    bench.run(command)
    times = []
    for _ in range(5 * rounds):
        remove(store)
        store.mkdir()
        bench.own(store)
        times.append(bench.run(command)[0])
    again = [bench.run(command)[0] for _ in range(5 * rounds)]
    return [row("a release of examples/hello, all built", 1000 * median(times), None, "ms", 300),
            row("the same again, all stored", 1000 * median(again), None, "ms", 100),
            installer(bench, rounds, checkout)]


def installer(bench, rounds, checkout):
    shutil.copy(checkout / "packages/treeinfo.json", checkout / "packages/installer.treeinfo.json")
    noise = checkout / "packages/noise"
    noise.mkdir()
    (noise / "buildinfo.json").write_text("{}")
    (noise / "build").write_text("#!/bin/bash\nhead -c 300000000 /dev/urandom > $PKG_PATH/noise\n")
    (noise / "build").chmod(0o755)
    bench.own(checkout)
    command = [bench.binary, "-C", checkout, "release", "--local", "create", "bench", "1.0", "default", "installer"]
    bench.run(command)
    made = checkout / "packages/cache/dcos_generate_config.sh"
    copied = checkout / "packages/cache/copy"
    ours, theirs = [], []
    # Building has left pages for the disk to write.
    os.sync()
    for _ in range(rounds):
        ours.append(bench.run(command)[0])
        theirs.append(bench.run(["sh", "-c", f"cat {made} > {copied}; sync {copied}"])[0])
    copied.unlink()
    return row("an installer of 300 MB, against cat", median(ours), median(theirs), "s", 2, 2)
