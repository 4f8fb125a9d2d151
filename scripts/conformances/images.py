"""Builds an image by mkpanda and by buildah, and reads what came of it: the tree of files and the configuration."""

import hashlib
import json
import os
import pathlib
import pwd
import signal
import subprocess
import sys
import tarfile

REPO = pathlib.Path(__file__).resolve().parents[2]
# What buildah leaves in images whose commands it has run, because it mounts something there.
PEERS_OWN = {"run/.containerenv", "etc/hosts", "etc/resolv.conf", "etc/hostname"}
# What a builder needs as a place to mount something, and leaves if the image had none.
PLACES = {"proc", "sys", "dev", "run", "run/secrets", "etc"}


class Failed(Exception):
    pass


def call(command, **more):
    """Runs a command for at most 300 s; then all of its processes are killed, which would keep its output open."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                          **more) as process:
        try:
            out, errors = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        said = (out + errors).strip().splitlines()
        raise Failed(f"{' '.join(map(str, command))}\n    " + "\n    ".join(said[-15:]))
    return out


def blob(layout, digest):
    return layout / "blobs" / digest.replace(":", "/")


def entries_of(layout, manifest):
    """What the layers come to: path -> (type, mode, owner, what it holds)."""
    tree = {}
    for layer in manifest["layers"]:
        with tarfile.open(blob(layout, layer["digest"])) as archive:
            apply_layer(tree, archive)
    return tree


def apply_layer(tree, archive):
    lower = set(tree)
    def remove(path, below_only=False, only=None):
        for known in [k for k in tree if k.startswith(path + "/") or (k == path and not below_only)]:
            if only is None or known in only:
                del tree[known]
    for member in archive:
        path = os.path.normpath(member.name).lstrip("/")
        folder, name = os.path.split(path)
        if name == ".wh..wh..opq":
            remove(folder, below_only=True, only=lower)
            continue
        if name.startswith(".wh."):
            remove(os.path.join(folder, name[4:]), only=lower)
            continue
        if not member.isdir() and path in tree:
            remove(path)
        tree[path] = described(tree, archive, member)
    return tree


def described(tree, archive, member):
    mode, owner = member.mode & 0o7777, (member.uid, member.gid)
    if member.islnk():
        return tree[os.path.normpath(member.linkname).lstrip("/")]
    if member.isdir():
        return ("folder", mode, owner, "")
    if member.issym():
        return ("link", 0o777, owner, member.linkname)
    if member.isfile():
        return ("file", mode, owner, hashlib.sha256(archive.extractfile(member).read()).hexdigest())
    return (f"special {member.type!r}", mode, owner, f"{member.devmajor}:{member.devminor}")


def config_of(config):
    """The configuration, less what says nothing or is the builder's own."""
    run = dict(config.get("config") or {})
    labels = {k: v for k, v in (run.get("Labels") or {}).items() if k != "io.buildah.version"}
    ports = {}
    for port in run.get("ExposedPorts") or {}:
        ports[port if "/" in port else port + "/tcp"] = {}
    # Whoever reads Cmd and Entrypoint takes null and [] for the same.
    run.update(Labels=labels, ExposedPorts=ports, Env=sorted(run.get("Env") or []))
    found = {}
    for key in ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
                "StopSignal", "Healthcheck", "OnBuild", "Shell"):
        if run.get(key):
            found[key] = run[key]
    found.update({key: config[key] for key in ("architecture", "os", "author") if config.get(key)})
    return found


def image_of(layout, reference=None):
    index = json.loads((layout / "index.json").read_text())
    found = [m for m in index["manifests"] if reference is None
             or m.get("annotations", {}).get("org.opencontainers.image.ref.name") == reference]
    manifest = json.loads(blob(layout, found[0]["digest"]).read_text())
    config = json.loads(blob(layout, manifest["config"]["digest"]).read_text())
    return entries_of(layout, manifest), config_of(config), manifest


class Builders:
    def __init__(self, mkpanda, place, single):
        self.mkpanda, self.place = mkpanda, place
        self.isolation = ["--isolation", "single"] if single else ["--isolation", "ranges"]
        self.environment = {**os.environ, "MKPANDA_HOME": str(place / "home")}
        (place / "tmp").mkdir(exist_ok=True)
        self.peers = {**os.environ, "TMPDIR": str(place / "tmp")}
        self.storage = ["--root", str(place / "storage"), "--runroot", str(place / "run"),
                        "--storage-driver", "vfs"]

    def prepare(self, recipe, names):
        """Makes an image of a recipe and gives it names, for both builders."""
        archive = self.place / f"{recipe}.tar"
        call([REPO / "scripts/make-image", recipe, archive])
        for name in names:
            call([self.mkpanda, "image", "load", "--name", name, archive], env=self.environment)
        call(["buildah", *self.storage, "pull", f"oci-archive:{archive}"])
        images = json.loads(call(["buildah", *self.storage, "images", "--json"]))
        for name in names:
            call(["buildah", *self.storage, "tag", images[0]["id"], name])

    def by_mkpanda(self, name, context, arguments):
        call([self.mkpanda, "image", "build", *self.isolation, "--network", "none", "-t",
              f"localhost/{name}", *arguments, context], env=self.environment)
        return image_of(self.place / "home/images", f"localhost/{name}:latest")

    def by_buildah(self, name, context, dockerfile, arguments):
        layout = self.place / f"{name}.oci"
        call(["buildah", *self.storage, "build", "--isolation", "chroot", "--format", "docker",
              "--layers", "--pull-never", "-f", dockerfile, "-t", f"localhost/{name}",
              *arguments, context], env=self.peers)
        archive = self.place / f"{name}.docker"
        call(["buildah", *self.storage, "push", f"localhost/{name}", f"docker-archive:{archive}"])
        read = self.read_docker(archive)
        archive.unlink()
        return read

    def read_docker(self, archive):
        """A docker archive, in which HEALTHCHECK and SHELL survive."""
        tree = {}
        with tarfile.open(archive) as outer:
            manifest = json.load(outer.extractfile("manifest.json"))[0]
            config = json.load(outer.extractfile(manifest["Config"]))
            for layer in manifest["Layers"]:
                with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
                    apply_layer(tree, inner)
        return tree, config_of(config)


def differences(ours, theirs):
    tree, config, _ = ours
    their_tree, their_config = theirs
    found = []
    for path in sorted(set(tree) | set(their_tree)):
        mine, other = tree.get(path), their_tree.get(path)
        if path in PEERS_OWN or path in (".", "") or (path in PLACES and not (mine and other)):
            continue
        if mine != other:
            found.append(f"/{path}: mkpanda {shown(mine)}, buildah {shown(other)}")
    for key in sorted(set(config) | set(their_config)):
        if config.get(key) != their_config.get(key):
            found.append(f"{key}: mkpanda {config.get(key)}, buildah {their_config.get(key)}")
    return found


def shown(entry):
    if entry is None:
        return "has none"
    kind, mode, owner, holds = entry
    return f"{kind} {mode:04o} {owner[0]}:{owner[1]} {holds[:16]}".strip()


def become(user, script, arguments):
    """Runs the script again as an ordinary user."""
    entry = pwd.getpwnam(user)
    if not os.path.isdir(entry.pw_dir):
        sys.exit(f"{script.name}: {user} has no home, in which buildah keeps its images; name another user: --as USER")
    environment = {"HOME": entry.pw_dir, "PATH": os.environ["PATH"], "USER": user}
    os.execvpe("setpriv", ["setpriv", "--reuid", user, "--regid", str(entry.pw_gid), "--clear-groups",
                           sys.executable, str(script), *arguments], environment)
