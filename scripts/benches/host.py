"""The host side: activating 80 packages with 5,000 files and 1,000 with 100,000, listing them, and starting.

The original took 530 to 780 ms for the first of them. There is no other peer here; the limit of an activation is
what the kernel takes for a link to each file, which is measured beside it: `cp --symbolic-link` of the same
tree. Users, services and the disk's syncing are the machine's: it runs without systemd, and what is synced is
what a real activation syncs.

An activation writes what the next set doesn't have in common with the one before the active one. The goal is for a
set that is activated again; beside it stands what a release takes in which each package has another id: all links
are removed and made. How long a disk takes for that differs widely, so it is measured in memory, too.
"""

import json
import os
import pathlib
import tempfile
from statistics import median

from .common import remove, row, static_pkgpanda


def make(repository, packages, files, version=1):
    """Packages of as many files together, in `bin`, `etc`, `include` and `lib`, some of them deep."""
    each = files // packages
    for number in range(packages):
        folder = repository / f"package{number}--{version}"
        for place in range(each):
            kind = ("bin", "etc", "include", "lib")[place % 4]
            below = f"{kind}/shared/p{number}" if place % 8 > 3 else kind
            (folder / below).mkdir(parents=True, exist_ok=True)
            (folder / below / f"file-{number}-{place}").write_text("")
        (folder / "pkginfo.json").write_text(json.dumps({"environment": {f"P{number}": "x"}}))
        (folder / "buildinfo.full.json").write_text(json.dumps({"name": f"package{number}"}))
    return [f"package{number}--{version}" for number in range(packages)]


def options_for(place):
    return [f"--root={place}/root", f"--repository={place}/packages", f"--config-dir={place}/none",
            f"--state-dir-root={place}/state", "--rooted-systemd", "--no-systemd"]


def short(bench, command, rounds):
    """Milliseconds of a short command, as a script that calls it sees them: the median of rounds of twenty. Called from
    here, each would take a millisecond longer, for Python's own fork."""
    script = 'i=0; while [ $i -lt 20 ]; do "$@" > /dev/null; i=$((i + 1)); done'
    times = [bench.run(["sh", "-c", script, "sh", *command])[0] for _ in range(rounds)]
    return median(times) / 20 * 1000


def releases(bench, pkgpanda, place, rounds):
    """Seconds to go from one set of 80 packages to another, of which no package was there before."""
    (place / "root").mkdir(parents=True)
    times = []
    # The first has nothing to remove, the second nothing of a set before to remove.
    for version in range(rounds + 2):
        ids = make(place / "packages", 80, 5_000, version)
        bench.own(place)
        os.sync()
        times.append(bench.run([pkgpanda, "activate", *ids, *options_for(place)])[0])
    remove(place)
    return median(times[2:])


def run(bench, rounds):
    folder = bench.folder / "host"
    folder.mkdir()
    pkgpanda = static_pkgpanda(bench)
    reached = []
    for packages, files, goal in ((80, 5_000, 60), (1_000, 100_000, 2_000)):
        place = folder / str(packages)
        repository, root = place / "packages", place / "root"
        ids = make(repository, packages, files)
        root.mkdir()
        bench.own(place)
        options = options_for(place)
        os.sync()
        first = bench.run([pkgpanda, "activate", *ids, *options])[0]
        again, links = [], []
        for number in range(rounds):
            os.sync()
            again.append(bench.run([pkgpanda, "activate", *ids, *options]))
            os.sync()
            links.append(bench.run(["cp", "--recursive", "--symbolic-link", repository, place / f"links{number}"])[0])
        reached.append(row(f"activating {packages} packages, {files} files",
                           median([seconds for seconds, _ in again]) * 1000, None, "ms", goal, 1))
        print(f"  the first time {first * 1000:.1f} ms; a link to each file by cp {median(links) * 1000:.1f} ms; "
              f"memory {median([memory for _, memory in again]) / 1e6:.0f} MB", flush=True)
        for command in ("list", "active"):
            reached.append(row(f"  {command}", short(bench, [pkgpanda, command, *options], rounds), None, "ms", 5, 1))
    on_disk = releases(bench, pkgpanda, folder / "releases", rounds)
    memory = pathlib.Path(tempfile.mkdtemp(prefix="mkpanda-bench-", dir="/dev/shm"))
    memory.chmod(0o755)
    in_memory = releases(bench, pkgpanda, memory / "releases", rounds)
    remove(memory)
    print(f"  80 packages, 5,000 files, every id another: on disk {on_disk * 1000:.0f} ms, "
          f"in memory {in_memory * 1000:.0f} ms", flush=True)
    reached.append(row("pkgpanda --version, static", short(bench, [pkgpanda, "--version"], rounds), None, "ms", 5, 1))
    reached.append(row("its size", pkgpanda.stat().st_size / 1e6, None, "MB", 10, 1))
    remove(folder)
    return reached
