"""Files and folders that can't be read or written."""

import os
import subprocess

from .checks import fails, finishes


def read_only(place, tier, folder):
    """Nothing to do is done on a read-only folder too; else what can't be written is named."""
    finishes(place, tier)
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    try:
        finishes(place, tier)
        script = place.packages / "epsilon/build"
        text = script.read_text()
        script.write_text(f"{text}# changed\n")
        try:
            said = fails(place, tier, "Read-only file system")
            assert str(folder) in said, said
        finally:
            script.write_text(text)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
    finishes(place, tier)


def read_only_cache(place, tier):
    read_only(place, tier, place.cache)


def read_only_home(place, tier):
    read_only(place, tier, place.home)


def unreadable(place, tier):
    """A file that can't be read is named, and nothing else is the worse for it."""
    if place.user is None and os.getuid() == 0:
        return
    cache = place.cache / "packages"

    def archive(name):
        return next((cache / name).glob("*.tar.xz"))

    finishes(place, tier)
    # What is hidden, and what has to be there no more for it to be looked at. What only a helper reads isn't
    # here: as root of its namespace it may read all files of the caller's.
    cases = [
        (place.packages / "alpha/buildinfo.json", []),
        (place.packages / "alpha/build", []),
        (place.packages / "treeinfo.json", []),
        (place.packages / "alpha", []),
        (place.image, [place.home / "images"]),
        (cache / "alpha/alpha/alpha-1.tar.gz", [archive("alpha")]),
        (archive("zeta"), list((place.cache / "bootstrap").glob("*.bootstrap.tar.xz"))),
        (cache / "gamma", [archive("gamma")]),
        (place.home / "builds/alpha", [archive("alpha")]),
    ]
    for path, absent in cases:
        place.forget(*absent)
        mode = os.stat(path).st_mode & 0o7777
        owner = os.stat(path)
        os.chmod(path, 0)
        try:
            said = fails(place, tier, "ermission denied", but=path.name)
            assert str(path) in said, f"it doesn't name {path}:\n{said}"
        finally:
            os.chmod(path, mode)
            assert os.stat(path).st_uid == owner.st_uid
        finishes(place, tier)


SCENARIOS = {"unreadable files": unreadable, "a read-only cache": read_only_cache,
             "a read-only MKPANDA_HOME": read_only_home}
# Those of the short form.
SHORT = {"a read-only cache", "unreadable files"}
