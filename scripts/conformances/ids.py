"""Ids of all packages at all tags of dcos/dcos, against those that the original's Python code of that tag computes."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from .result import FAILED, LEFT_OUT, PASSED, Suite

REPO = pathlib.Path(__file__).resolve().parents[2]
DEFAULT_IMAGE = "dcos/dcos-builder:dcos-builder_dockerdir-latest"
# Another user's name and date would make other commits of git_local sources.
COMMITTER = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@localhost", "GIT_COMMITTER_NAME": "a",
             "GIT_COMMITTER_EMAIL": "a@localhost", "GIT_CONFIG_GLOBAL": "/dev/null"}


def last_said(done):
    """The last line of what a program that failed has said."""
    return (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]


def git(place, *arguments, **more):
    return subprocess.run(["git", "-c", "safe.directory=*", "-C", place, *arguments], check=True, capture_output=True,
                          env={**os.environ, **COMMITTER}, **more).stdout


def check_out(checkout, tag, place):
    """Writes a tag's tree as a repository of its own, in which git_local sources find a commit."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    archive = git(checkout, "archive", f"refs/tags/{tag}", "packages", "pkgpanda")
    subprocess.run(["tar", "-x", "-C", place], input=archive, check=True)
    git(place, "init", "--quiet")
    git(place, "add", "--all", "--force")
    git(place, "commit", "--quiet", "--message", tag)


def images_of(place):
    """Names of the builder images of a tree."""
    names = {DEFAULT_IMAGE}
    for path in place.glob("packages/*/*buildinfo.json"):
        if path.stat().st_size:
            found = json.loads(path.read_text()).get("docker")
            names |= {found} if isinstance(found, str) else set()
    return sorted(names)


def ours(mkpanda, place, home, archive):
    """Ids by `mkpanda tree --dry-run`."""
    configuration = home / "config/mkpanda"
    configuration.mkdir(parents=True, exist_ok=True)
    lines = ["[images]", *[f"{json.dumps(name)} = {json.dumps(f'oci-archive:{archive}')}" for name in images_of(place)]]
    (configuration / "config.toml").write_text("\n".join(lines) + "\n")
    environment = {**os.environ, "XDG_CONFIG_HOME": str(home / "config"), "MKPANDA_HOME": str(home / "home")}
    ids, errors = set(), []
    # A variant that cannot be built, as those for Windows, leaves the others.
    for path in sorted((place / "packages").glob("*treeinfo.json")):
        variant = path.name.removesuffix("treeinfo.json").rstrip(".") or "default"
        done = subprocess.run([mkpanda, "tree", "--dry-run", variant], cwd=place / "packages", env=environment,
                              check=False, capture_output=True, text=True)
        ids |= set(re.findall(r"^\S+\s+(\S+--[0-9a-f]{40})\b", done.stdout, re.M))
        if done.returncode and done.stderr.strip():
            errors.append(f"{variant}: {last_said(done)}")
    return ids, "; ".join(errors)


def dependents_of_extra(place):
    """Packages (`name` or `name/variant`) that have files in extra/, or require one that has, at any distance."""
    requires = {}
    for path in place.glob("packages/*/*buildinfo.json"):
        variant = path.name.removesuffix("buildinfo.json").rstrip(".")
        label = f"{path.parent.name}/{variant}" if variant else path.parent.name
        found = json.loads(path.read_text() or "{}").get("requires") or []
        # A requirement is a name, or {"name": …, "variant": …}, or {NAME: VARIANT}.
        names = set()
        for entry in found:
            names |= {entry} if isinstance(entry, str) else {entry.get("name", next(iter(entry)))}
        requires[label] = names
    having = {label for label in requires if (place / "packages" / label.split("/")[0] / "extra").is_dir()}
    while True:
        names = {label.split("/")[0] for label in having}
        more = {label for label, needed in requires.items() if needed & names} - having
        if not more:
            return having
        having |= more


def dcos(mkpanda, place, checkout, commit, _wanted):
    suite = Suite("dcos/dcos, ids at all tags", commit)
    archive = place / "common.tar"
    image = subprocess.run([REPO / "scripts/make-image", "common", archive], check=True, capture_output=True,
                           text=True).stdout.strip()
    seen = set()
    for tag in git(checkout, "tag").decode().split():
        tree = place / "tree"
        try:
            check_out(checkout, tag, tree)
        except subprocess.CalledProcessError:
            suite.add(tag, LEFT_OUT, "the tag has no packages/ and pkgpanda/")
            continue
        found, error = ours(mkpanda, tree, place, archive)
        program = REPO / "scripts/conformances/original_ids.py"
        done = subprocess.run([sys.executable, "-B", program, tree, image], check=False, capture_output=True, text=True)
        if done.returncode:
            suite.add(tag, LEFT_OUT, f"the original does not run: {last_said(done)}")
            continue
        original = json.loads(done.stdout)
        with_extra = dependents_of_extra(tree)
        by_place = "file_hash_dict[filename]" in (tree / "pkgpanda/build/__init__.py").read_text()
        for label, package in sorted(original["ids"].items()):
            if package not in seen and package in found:
                suite.add(package, PASSED)
            elif package not in seen and by_place and label in with_extra:
                suite.add(f"{tag}: {label}", LEFT_OUT, "the original up to 1.8 hashes absolute paths of files in "
                          "extra/, so that ids with such a package in them differ from folder to folder")
            elif package not in seen:
                suite.add(f"{tag}: {label}", FAILED, f"{package} is missing {error}")
            seen.add(package)
        for label, message in original["errors"].items():
            message = message.replace(str(tree) + "/", "").split(":")[0] + ": " + pathlib.Path(message).name.strip("'")
            is_known = label.endswith("/windows") or "windows.build" in message
            suite.add(f"{tag}: {label}", LEFT_OUT if is_known else FAILED,
                      "a variant for Windows, whose build script is missing" if is_known
                      else f"the original refuses it: {message}"[:150])
    return suite
