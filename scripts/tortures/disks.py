"""Disks that are full: each of a place's folders on ever larger ones, until a run fits."""

import contextlib
import re
import subprocess

from .checks import finishes, nothing_half_done


@contextlib.contextmanager
def disk(place, folder, size):
    """A small disk at a folder, which the place's user may write to."""
    place.forget(folder)
    folder.mkdir()
    place.own(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k,mode=0755", "tmpfs", folder], check=True)
    place.own(folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def grow(folder, size):
    subprocess.run(["mount", "-o", f"remount,size={size}k", folder], check=True)


def filling(place, tier, folder, sizes, enough):
    """Runs fail and name what is full, leave nothing, and go on where there is room again."""
    place.forget(place.cache, *place.home.iterdir())
    failed = 0
    with disk(place, folder, sizes[0]):
        for size in sizes:
            grow(folder, size)
            code, said = place.run(tier)
            assert code in (0, 1), f"with {size} KB it ended with {code}:\n{said}"
            if code == 1:
                failed += 1
                full = "No space left" in said or "is full" in said or "os error 28" in said
                assert full, f"with {size} KB it doesn't say that the disk is full:\n{said}"
                named = re.search(re.escape(str(folder)) + r"/|scratch folder " + re.escape(str(folder)), said)
                assert named, f"with {size} KB it doesn't name a file in {folder}:\n{said}"
            nothing_half_done(place)
            left = [path for path in place.temporary() if "/layers/" not in path and "/home/packages/" not in path]
            assert not left, f"with {size} KB it left {left}:\n{said}"
        grow(folder, enough)
        finishes(place, tier)
    assert failed, "every size was enough"
    place.forget(place.cache, *place.home.iterdir())
    finishes(place, tier)


def cache(place, tier):
    filling(place, tier, place.cache, (40, 160, 320, 480, 640, 800, 960, 1200, 1600), 40_000)


def scratch(place, tier):
    filling(place, tier, place.home / "scratch", (20, 80, 200, 300, 400, 600, 900), 80_000)


def home(place, tier):
    filling(place, tier, place.home, (200, 2000, 4200, 5200, 7000, 8600, 9200, 10_000, 11_000), 90_000)


SCENARIOS = {"the cache's disk is full": cache, "the scratch folder's disk is full": scratch,
             "the disk of MKPANDA_HOME is full": home}
# Those of the short form.
SHORT = {"the cache's disk is full"}
