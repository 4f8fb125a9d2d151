"""A tree with all that a tree can have, the executable, and what is left of a run on it.

    <place>/tree/packages/…    the tree; its cache is compared with the one of an undisturbed run
    <place>/home/              MKPANDA_HOME
    <place>/tmp/               TMPDIR, which has to be empty after a run
    <served>/…                 what the loopback server has
"""

import fcntl
import hashlib
import io
import json
import os
import pathlib
import pwd
import random
import shutil
import stat
import subprocess
import tarfile
import tempfile
import zipfile

from . import processes

BUILDER = "dcos/dcos-builder:dcos-builder_dockerdir-latest"
SCRIPT = "#!/bin/bash\nset -o errexit -o nounset -o pipefail\n"
# While this file is in a package's folder, which changes no id, its build goes on.
# A build's folder is a copy, in which no file appears or goes later: the sleep is ended from outside.
HELD = "sleep 86399.5"
HOLD = f"[[ ! -e /pkg/build/hold ]] || {HELD} || true\n"
# Seconds after which a run counts as one that hangs. On a machine with far more to do than it can, runs of two
# seconds were seen to take three minutes.
LAST = 600


def noise(name, size):
    """Bytes that don't compress, the same each time."""
    return random.Random(name).randbytes(size)


def served_files(folder):
    """The sources: a tar archive, a zip archive, a file, and a git repository for the dumb protocol."""
    folder.mkdir()
    with tarfile.open(folder / "alpha-1.tar.gz", "w:gz") as archive:
        for name, size in (("alpha-1/data", 150_000), ("alpha-1/sub/more", 30_000)):
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, io.BytesIO(noise(name, size)))
    with zipfile.ZipFile(folder / "gamma-2.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("gamma-2/file"), noise("gamma", 50_000))
    (folder / "gamma.patch").write_bytes(noise("patch", 100_000))
    work = folder / "work"
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-C", work]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_DATE": "2001-02-03T04:05:06Z",
                   "GIT_COMMITTER_DATE": "2001-02-03T04:05:06Z"}

    def run(*words):
        return subprocess.run([*git, *words], check=True, stdout=subprocess.PIPE, env=environment, text=True).stdout

    work.mkdir()
    run("init", "-q", "-b", "main")
    for number in range(12):
        (work / f"file{number}").write_bytes(noise(f"git{number}", 5_000))
        run("add", "-A")
        run("commit", "-q", "-m", f"commit {number}")
    run("clone", "-q", "--mirror", "--no-local", ".", folder / "beta.git")
    subprocess.run(["git", "-C", folder / "beta.git", "repack", "-adq"], check=True, env=environment)
    subprocess.run(["git", "-C", folder / "beta.git", "update-server-info"], check=True, env=environment)
    return run("rev-parse", "HEAD").strip()


def sha1(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


def write_tree(packages, served, commit, url, image):
    """Dependencies, variants, each kind of source, a tree variant, children in builds, foreign owners."""

    def package(name, info, script, variant=""):
        folder = packages / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{variant}buildinfo.json").write_text(json.dumps(info))
        build = folder / info.get("build_script", "build")
        build.write_text(SCRIPT + script)
        build.chmod(0o755)

    def source(kind, name):
        return {"kind": kind, "url": url(name), "sha1": sha1(served / name)}

    package("alpha", {"single_source": source("url_extract", "alpha-1.tar.gz")},
            "cp -r /pkg/src/alpha/. $PKG_PATH/\nmkdir $PKG_PATH/bin\necho alpha > $PKG_PATH/bin/alpha\n")
    git = {"kind": "git", "git": url("beta.git"), "ref": commit, "ref_origin": "main"}
    package("beta", {"requires": ["alpha"], "single_source": git},
            "cat /pkg/src/beta/file* > $PKG_PATH/beta\ncat /opt/mesosphere/bin/alpha >> $PKG_PATH/beta\n")
    package("gamma", {"requires": ["alpha"], "sources": {"patch": source("url", "gamma.patch"),
                                                         "code": source("url_extract", "gamma-2.zip")}},
            "cp /pkg/src/code/file /pkg/src/patch/gamma.patch $PKG_PATH/\n")
    package("delta", {"requires": ["beta", "epsilon"]},
            "sleep 0.1 & sleep 0.05 & wait\ncat /opt/mesosphere/packages/*/* > $PKG_PATH/all 2>/dev/null || true\n"
            "[[ -s $PKG_PATH/all ]]\n")
    package("epsilon", {}, HOLD + "echo default > $PKG_PATH/variant\n")
    package("epsilon", {"build_script": "build-debug"}, "echo debug > $PKG_PATH/variant\nsleep 0.05\n", "debug.")
    package("zeta", {"state_directory": True},
            "touch /var/mine\nchown 1234:1234 /var/mine\nmkdir -p /var/closed/in\ntouch /var/closed/in/file\n"
            "chmod 0 /var/closed\nseq 1 60000 > $PKG_PATH/numbers\n")
    package("eta", {"requires": ["zeta"], "environment": {"ETA": "1"}},
            "(setsid sleep 30 &)\nmkdir $PKG_PATH/etc\necho eta > $PKG_PATH/etc/eta\nsleep 0.1\n")
    (packages / "treeinfo.json").write_text("{}")
    (packages / "small.treeinfo.json").write_text(json.dumps(
        {"core_package_list": ["epsilon", "eta"], "variants": {"epsilon": "debug"}}))
    (packages / "mkpanda.toml").write_text(f'[images]\n"{BUILDER}" = "oci-archive:{image}"\n')


class Run:
    """A run under way, its output in a file."""

    def __init__(self, place, words, environment=None, prefix=()):
        self.output = tempfile.TemporaryFile()
        become = {}
        if place.user:
            become = {"user": place.user.pw_uid, "group": place.user.pw_gid, "extra_groups": []}
        self.child = subprocess.Popen(
            [*prefix, str(place.binary), "-C", str(place.packages), *words], stdin=subprocess.DEVNULL,
            stdout=self.output, stderr=self.output, cwd=place.folder, process_group=0,
            env={**place.environment, **(environment or {})}, **become)
        self.pid = self.child.pid
        self.hung = ""

    def alive(self):
        return self.child.poll() is None

    def text(self):
        return os.pread(self.output.fileno(), 1 << 20, 0).decode(errors="replace") + self.hung

    def end(self, limit=LAST):
        """Its exit code; None if it was still running and had to be ended: then `text` shows its processes."""
        # Counted by waits, since a machine that is suspended, or a person who stops both, takes no time from it.
        for _wait in range(int(10 * limit)):
            try:
                return self.child.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        self.hung = f"\nno end after {limit} s; its processes were:\n{processes.picture(self.pid)}"
        processes.end_all()
        self.child.wait()
        return None


class Place:
    """A folder with a tree and an executable, and a user."""

    def __init__(self, folder, binary, user, image, server, commit):
        self.folder, self.binary, self.user, self.image = folder, binary, user, image
        folder.mkdir()
        self.packages, self.home, self.tmp = folder / "tree/packages", folder / "home", folder / "tmp"
        self.cache = self.packages / "cache"
        for made in (self.packages, self.home, self.tmp):
            made.mkdir(parents=True)
        self.server = server
        write_tree(self.packages, server.folder, commit, server.url, image)
        self.environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder),
            "MKPANDA_HOME": str(self.home), "TMPDIR": str(self.tmp), "LANG": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": "/dev/null"}
        self.own(folder)
        self.times, self.reference = {}, {}

    def own(self, path):
        if self.user:
            subprocess.run(["chown", "-R", f"{self.user.pw_uid}:{self.user.pw_gid}", path], check=True)

    def name(self):
        return (self.user or pwd.getpwuid(os.getuid())).pw_name

    def start(self, tier, *words, jobs=2, **how):
        return Run(self, ["tree", f"-j{jobs}", "--mkbootstrap", f"--isolation={tier}", *words], **how)

    def run(self, tier, *words, jobs=2, limit=LAST, **how):
        run = self.start(tier, *words, jobs=jobs, **how)
        return run.end(limit), run.text()

    def remove(self, path):
        remove(path)

    def forget(self, *paths):
        for path in paths:
            remove(path)

    # What lies there.

    def snapshot(self):
        """Everything with a final name, and what it is: name -> digest."""
        found = {}
        for root, what in ((self.cache, "cache"), (self.home, "home")):
            found.update({f"{what}/{name}": value for name, value in files(root)})
        return found

    def compared(self, found):
        """Those of a snapshot whose bytes have to be the same in every run."""
        return {name: value for name, value in found.items() if not may_differ(name)}

    def temporary(self):
        """What should not be there when nothing runs."""
        found = [str(path) for path in self.tmp.iterdir()]
        scratch = self.home / "scratch"
        found += [str(path) for path in scratch.iterdir()] if scratch.is_dir() else []
        for root in (self.cache, self.home):
            for path, folders, names in os.walk(root):
                found += [os.path.join(path, name) for name in (*folders, *names) if is_temporary(name)]
                folders[:] = [name for name in folders if not is_temporary(name)]
        return sorted(set(found))

    def held_locks(self):
        """Lock files that somebody holds."""
        held = []
        for pattern in ("locks/*", "locks/uses/*.lock", "scratch/*.lock", "layers/*/.lock", "packages/.lock", "images/*lock*"):
            for path in filter(pathlib.Path.is_file, self.home.glob(pattern)):
                with open(path) as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        held.append(str(path))
        return held

    def differences(self, complete):
        """What has a final name and isn't what it is in the undisturbed run; with `complete`, what lacks too."""
        found = self.compared(self.snapshot())
        wrong = [f"{name} differs" if name in self.reference else f"{name} is not known"
                 for name, value in found.items() if self.reference.get(name) != value]
        if complete:
            wrong += [f"{name} is missing" for name in self.reference if name not in found and is_needed(name)]
        return wrong


def is_temporary(name):
    return name.startswith((".tmp-", "tmp_")) or name.endswith(".new")


def is_needed(name):
    """Sources and what is unpacked need not be there where nothing had to be built of them."""
    parts = name.split("/")
    return parts[0] == "cache" and (parts[1] != "packages" or len(parts) == 4)


def may_differ(name):
    parts = name.split("/")
    if parts[:2] == ["home", "builds"] and parts[-1] in ("log", "record.json"):
        return True
    return parts[:2] in (["home", "locks"], ["home", "scratch"]) or parts[-1] in (".lock", "lock") \
        or name == "home/images/locations.json" or name.startswith("home/images/index") \
        or name.endswith("-lock") or "/mirror.git/" in name and not name.endswith(".git/objects")


def files(root):
    """Every file below a folder that isn't temporary, with what makes it what it is."""
    for path, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not is_temporary(name)
                      and os.path.join(path, name) != str(root / "scratch")]
        for name in (*names, *(name for name in folders if os.path.islink(os.path.join(path, name)))):
            if is_temporary(name):
                continue
            file = os.path.join(path, name)
            try:
                status = os.lstat(file)
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(status.st_mode):
                value = f"-> {os.readlink(file)}"
            elif stat.S_ISREG(status.st_mode):
                value = f"{stat.S_IMODE(status.st_mode):o} {sha1(file)}"
            else:
                value = f"{status.st_mode:o} {status.st_rdev}"
            yield os.path.relpath(file, root), value
        for name in list(folders):
            if name == "mirror.git":
                repository = os.path.join(path, name)
                yield os.path.relpath(os.path.join(repository, "objects"), root), git_state(repository)


def git_state(repository):
    """What a mirror has: its refs, and all objects that they lead to."""
    listed = [subprocess.run(["git", "-c", f"safe.directory={repository}", "-C", repository, *words],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                             env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_COUNT": "1",
                                  "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}).stdout
              for words in (["show-ref"], ["rev-list", "--objects", "--all"], ["fsck", "--no-progress"])]
    return hashlib.sha1(b"\n".join(listed)).hexdigest()


def remove(path):
    """What a build leaves may belong to ids that only root, or a namespace of the user's, can remove."""
    path = pathlib.Path(path)
    if path.is_file() or path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            remover = ["unshare", "--map-auto", "--map-root-user", "rm", "-rf", str(path)]
            subprocess.run(remover if os.getuid() else remover[3:], check=True)
