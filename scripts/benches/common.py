"""What all measurements share: a folder with an image and the executable, and a line of the table."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
DEFAULT_IMAGE = "dcos/dcos-builder:dcos-builder_dockerdir-latest"
THREADS = os.cpu_count()


def remove(path):
    """What a build leaves may belong to ids that only root, or a namespace of the user's, can remove."""
    remover = ["rm", "-rf", str(path)]
    if subprocess.run(remover, check=False, stderr=subprocess.DEVNULL).returncode:
        subprocess.run(["unshare", "--map-auto", "--map-root-user", *remover], check=True)


def release_build():
    subprocess.run(["cargo", "build", "--quiet", "--release", "--locked", "--bin", "mkpanda"], cwd=REPO,
                   check=True)
    answer = subprocess.run(["cargo", "metadata", "--format-version=1", "--no-deps", "--locked"], cwd=REPO,
                            check=True, stdout=subprocess.PIPE)
    return pathlib.Path(json.loads(answer.stdout)["target_directory"]) / "release/mkpanda"


def static_pkgpanda(bench):
    """The host's executable as a machine gets it."""
    made = bench.folder / "pkgpanda"
    subprocess.run([REPO / "scripts/static", made, "pkgpanda"], check=True, stdout=subprocess.DEVNULL)
    return made


class Bench:
    """A folder with an image, trees and the executable, and a user whose processes are measured."""

    def __init__(self, folder, binary, user):
        self.folder, self.user = folder, user
        folder.chmod(0o755)
        self.binary = folder / "mkpanda"
        shutil.copy(binary, self.binary)
        self.image = folder / "tiny.oci.tar"
        subprocess.run([REPO / "scripts/make-image", "tiny", self.image], check=True,
                       stdout=subprocess.DEVNULL)
        self.root = folder / "root"
        self.root.mkdir()
        subprocess.run([REPO / "rootfs/tiny/recipe", folder / "root.tar"], check=True)
        subprocess.run(["tar", "-xf", folder / "root.tar", "-C", self.root], check=True)
        (folder / "home").mkdir()
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                            "HOME": str(folder / "home"), "MKPANDA_HOME": str(folder / "home/mkpanda"),
                            "LANG": "C.UTF-8", "XZ_OPT": ""}
        self.own(folder / "home")

    def own(self, path):
        if self.user:
            subprocess.run(["chown", "-R", f"{self.user.pw_uid}:{self.user.pw_gid}", path], check=True)

    def run(self, command, cwd=None):
        """Returns the seconds it took and the peak resident bytes of the largest process in it."""
        become = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        with tempfile.TemporaryFile() as output:
            started = time.perf_counter()
            child = subprocess.Popen([str(word) for word in command], cwd=cwd or self.folder, stdout=output,
                                     stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                     env=self.environment, **become)
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - started
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                output.seek(0)
                sys.exit(f"bench: {' '.join(map(str, command))} ended with {child.returncode}:\n"
                         + output.read().decode(errors="replace"))
        return seconds, usage.ru_maxrss * 1024

    def tree(self, name, packages):
        """Writes a tree: package name -> (buildinfo, script)."""
        folder = self.folder / name
        for package, (info, script) in packages.items():
            (folder / "packages" / package).mkdir(parents=True)
            (folder / "packages" / package / "buildinfo.json").write_text(json.dumps(info))
            build = folder / "packages" / package / "build"
            build.write_text(f"#!/bin/bash\n{script}\n")
            build.chmod(0o755)
        (folder / "packages/treeinfo.json").write_text("{}")
        (folder / "mkpanda.toml").write_text(f'[images]\n"{DEFAULT_IMAGE}" = "oci-archive:{self.image}"\n')
        self.own(folder)
        return folder / "packages"

    def mkpanda(self, packages, *options):
        return self.run([self.binary, "-C", packages, "tree", *options])

    def forget(self, packages):
        """Leaves the unpacked image, as bubblewrap finds its root unpacked too, and nothing else."""
        for path in (packages / "cache", *(self.folder / "home/mkpanda" / sub
                                           for sub in ("builds", "packages", "scratch"))):
            remove(path)


def machine_files():
    """What a machine has in /usr/lib, in the order of names: paths, and where they lie below it."""
    for path, folders, names in os.walk("/usr/lib"):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(path, name)
            if not os.path.islink(file) and os.access(file, os.R_OK) and os.path.getsize(file) <= 50_000_000:
                yield file, os.path.relpath(file, "/usr/lib")


def fill(folder, size, files):
    """Copies files into a folder until it has that many bytes."""
    for file, relative in files:
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        size -= os.path.getsize(file)
        if size < 0:
            return
    sys.exit("bench: /usr/lib has too few files to pack")


def row(what, ours, peer, unit, goal, decimals=1, why=""):
    """A line of the table. Goals are ratios, or a limit where there is no peer; `why` is said of one that is missed."""
    reached = ours / peer if peer else ours
    verdict = "reached" if reached <= goal else "MISSED"
    compared = f"{peer:10.{decimals}f}" if peer else f"{'':10}"
    shown = f"{reached:.3f} x" if peer else f"{reached:.{decimals}f} {unit}"
    limit = f"{goal} x" if peer else f"{goal} {unit}"
    print(f"{what:44} {ours:10.{decimals}f} {compared} {unit:3} {shown:>10} {limit:>9}  {verdict}", flush=True)
    if why and reached > goal:
        print(f"  missed because {why}", flush=True)
    return reached <= goal
