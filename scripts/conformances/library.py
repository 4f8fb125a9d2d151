"""Tables and archives that the library reads itself, by the ignored tests of tests/it/conformance.rs."""

import binascii
import json
import os
import pathlib
import re
import stat
import subprocess

from .result import FAILED, LEFT_OUT, PASSED, Suite

REPO = pathlib.Path(__file__).resolve().parents[2]
# What libarchive reads and mkpanda does not: formats other than tar and zip, and compressions that no source has.
OTHER_FORMATS = re.compile(r"_(7zip|ar|cab|cpio|iso9660|lha|mtree|rar[345]?|raw|xar|warc|zisofs|pathmatch|files|filter)[_.]|\.(iso|Z|lzo?|lz4|lrz|grz|uu|rpm|lzma|tlz|cab|lzh|cpio\.gz)\b")


def run_test(name, **variables):
    """Runs one ignored test, and yields what it reports of each case."""
    environment = {**os.environ, **{key: str(value) for key, value in variables.items()}}
    command = ["cargo", "test", "--quiet", "--test", "it", "--", "--ignored", "--nocapture", f"conformance::{name}"]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-4000:])
    for line in done.stdout.splitlines():
        if line.startswith('{"case"'):
            yield json.loads(line)


def buildkit(checkout, commit):
    """BuildKit's tables of words, and its parser's files."""
    for title, test in (("BuildKit frontend/dockerfile/shell", "words_of_buildkit"),
                        ("BuildKit frontend/dockerfile/parser", "dockerfiles_of_buildkit")):
        suite = Suite(title, commit)
        for found in run_test(test, MKPANDA_CONFORMANCE_BUILDKIT=checkout):
            suite.add(found["case"], FAILED if found["failed"] else PASSED, found["failed"] or "")
        yield suite


def uudecoded(text):
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(b"begin "):
            break
    content = b""
    for line in lines:
        if line in (b"end", b"`"):
            break
        try:
            content += binascii.a2b_uu(line)
        except binascii.Error:
            # Some encoders leave trailing garbage on the line.
            length = (((line[0] - 32) & 63) * 4 + 5) // 3
            content += binascii.a2b_uu(line[:length])
    return content


def tree_of(folder):
    """Path -> what is there, without times and owners."""
    tree = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(place, name)
            data = os.lstat(path)
            below = os.path.relpath(path, folder)
            if stat.S_ISLNK(data.st_mode):
                tree[below] = ("link", os.readlink(path))
            elif stat.S_ISREG(data.st_mode):
                tree[below] = ("file", oct(data.st_mode & 0o777), pathlib.Path(path).read_bytes())
            elif stat.S_ISDIR(data.st_mode):
                tree[below] = ("folder",)
            elif stat.S_ISFIFO(data.st_mode):
                tree[below] = ("fifo",)
    return tree


def by_bsdtar(archive, folder):
    """Unpacks by libarchive itself. Returns its message if it fails."""
    folder.mkdir()
    done = subprocess.run(["bsdtar", "-xf", archive, "-C", folder, "--no-same-owner", "-p", "--no-acls", "--no-xattrs"],
                          capture_output=True, text=True, check=False, errors="replace")
    # Folders without rights would hide what is in them; modes of files are compared.
    subprocess.run(["find", folder, "-type", "d", "-exec", "chmod", "u+rwx", "{}", ";"], check=False)
    return done.stderr.strip() or f"exit {done.returncode}" if done.returncode else None


def stripped(tree):
    tops = {path.split("/")[0] for path in tree}
    if len(tops) == 1 and tree.get(next(iter(tops)), ("folder",)) == ("folder",):
        top = tops.pop()
        return {path[len(top) + 1:]: entry for path, entry in tree.items() if path != top}
    return tree


def libarchive(checkout, commit, place):
    """The tar and zip archives of libarchive's tests, unpacked here and by bsdtar."""
    suite = Suite("libarchive libarchive/test", commit)
    archives = place / "archives"
    archives.mkdir(parents=True)
    for encoded in sorted((checkout / "libarchive/test").glob("*.uu")):
        name = encoded.name.removesuffix(".uu")
        if OTHER_FORMATS.search(name):
            suite.add(name, LEFT_OUT, "another format, or a compression that sources do not have (compress, lz4, lzip, "
                      "lzma, lzop, lrzip, grzip)")
            continue
        (archives / name).write_bytes(uudecoded(encoded.read_bytes()))
    for found in run_test("archives_are_unpacked", MKPANDA_CONFORMANCE_ARCHIVES=archives):
        name, failed = found["case"], found["failed"]
        refused = by_bsdtar(archives / name, place / name)
        if failed and refused:
            suite.add(name, PASSED, "both refuse")
        elif failed and "must have one folder at its top" in failed:
            suite.add(name, LEFT_OUT, "several entries at the top, which a source must not have")
        elif failed:
            suite.add(name, FAILED, f"mkpanda refuses: {failed}")
        elif refused:
            suite.add(name, FAILED, f"bsdtar refuses: {refused[:200]}")
        else:
            ours, theirs = tree_of(archives / f"{name}.unpacked"), tree_of(place / name)
            if ours != theirs and (archives / name).read_bytes()[:2] == b"PK":
                theirs = stripped(theirs)
            suite.add(name, PASSED if ours == theirs else FAILED, differences(ours, theirs))
    return suite


def differences(ours, theirs):
    found = []
    for path in sorted(set(ours) | set(theirs)):
        if ours.get(path) != theirs.get(path):
            found.append(f"{path}: mkpanda {shown(ours.get(path))}, bsdtar {shown(theirs.get(path))}")
    return "; ".join(found[:4])


def shown(entry):
    return "has none" if entry is None else " ".join(str(part)[:40] for part in entry)
