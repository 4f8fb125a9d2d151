"""An image of 200 MB loaded and unpacked, against `umoci unpack`, which unpacks a layout without a store.

The peer reads the same layout as the same user. What is counted here is `mkpanda image load` and the first
build in the image, which unpacks it, runs a container and packs what that made. The archives that
`docker save` writes are unpacked by no peer in one step: `skopeo copy` first makes a layout of one.
"""

import gzip
import hashlib
import io
import json
import multiprocessing
import os
import stat
import sys
import tarfile
from statistics import median

from .common import remove, row

IMAGE_BYTES = 200_000_000
LARGEST_FILE = 20_000_000
LAYERS = 6
FOLDERS = ("/usr/bin", "/usr/include", "/usr/lib", "/usr/share")
NAME = "mkpanda.test/usr:1"
OCI = "application/vnd.oci.image"


def files(folder, room):
    """What a machine has in a folder, in the order of names, until there is no room; gives what is left of it."""
    for path, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(path, name)
            state = os.lstat(file)
            if not (stat.S_ISREG(state.st_mode) or stat.S_ISLNK(state.st_mode)):
                continue
            if state.st_size > LARGEST_FILE or not os.access(file, os.R_OK, follow_symlinks=False):
                continue
            yield file, state.st_size
            room -= state.st_size
            if room < 0:
                return


def chosen():
    """The files of the image: some large ones, many small ones."""
    every = [file for folder in FOLDERS for file in files(folder, IMAGE_BYTES // len(FOLDERS))]
    if sum(size for _, size in every) < IMAGE_BYTES * 9 // 10:
        sys.exit(f"bench: {' '.join(FOLDERS)} have no {IMAGE_BYTES // 1_000_000} MB for an image")
    return every


def layer(paths):
    """The tar of a layer, with the folders in which its files lie."""
    tar, made = io.BytesIO(), set()

    def owned(member):
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with tarfile.open(fileobj=tar, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in paths:
            above = os.path.dirname(path)
            parts = above.strip("/").split("/")
            for folder in ("/" + "/".join(parts[:end + 1]) for end in range(len(parts))):
                if folder not in made:
                    made.add(folder)
                    archive.add(folder, f"machine{folder}", recursive=False, filter=owned)
            archive.add(path, f"machine{path}", recursive=False, filter=owned)
    return tar.getvalue()


def encoded(value):
    return json.dumps(value).encode()


class Image:
    """The same image as a layout of gzip layers and as what `docker save` writes."""

    def __init__(self, bench, folder):
        self.layout, self.archive = folder / "layout", folder / "docker.tar"
        blobs = self.layout / "blobs/sha256"
        blobs.mkdir(parents=True)
        entries = chosen()
        share = sum(size for _, size in entries) / LAYERS
        groups, seen = [[] for _ in range(LAYERS)], 0
        for path, size in entries:
            groups[min(int(seen / share), LAYERS - 1)].append(path)
            seen += size
        def blob(content):
            digest = hashlib.sha256(content).hexdigest()
            (blobs / digest).write_bytes(content)
            return {"digest": f"sha256:{digest}", "size": len(content)}

        diff_ids, descriptors = [], []
        with tarfile.open(self.archive, "w") as archive:
            def add(name, content):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))

            tars = [(bench.folder / "root.tar").read_bytes()]
            while tars or groups:
                tar = tars.pop() if tars else layer(groups.pop(0))
                diff_ids.append(hashlib.sha256(tar).hexdigest())
                add(f"{diff_ids[-1]}/layer.tar", tar)
                packed = gzip.compress(tar, 6, mtime=0)
                descriptors.append({"mediaType": f"{OCI}.layer.v1.tar+gzip", **blob(packed)})
            config = encoded({
                "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine], "os": "linux",
                "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids]}})
            config_blob = blob(config)
            config_name = config_blob["digest"].removeprefix("sha256:") + ".json"
            add(config_name, config)
            add("manifest.json", encoded([{"Config": config_name, "RepoTags": [NAME],
                                           "Layers": [f"{diff_id}/layer.tar" for diff_id in diff_ids]}]))
        manifest = blob(encoded({
            "schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "layers": descriptors,
            "config": {"mediaType": f"{OCI}.config.v1+json", **config_blob}}))
        (self.layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (self.layout / "index.json").write_bytes(encoded({
            "schemaVersion": 2, "manifests": [{
                "mediaType": f"{OCI}.manifest.v1+json", **manifest,
                "annotations": {"org.opencontainers.image.ref.name": "1"}}]}))


def make(bench, folder):
    """Makes the image in a process of its own: what a process starts counts its memory until then as theirs."""
    maker = multiprocessing.get_context("fork").Process(target=Image, args=(bench, folder))
    maker.start()
    maker.join()
    if maker.exitcode:
        sys.exit("bench: the image could not be made")


def run(bench, rounds):
    folder = bench.folder / "images"
    (folder / "out").mkdir(parents=True)
    make(bench, folder)
    tree = bench.tree("unpacked", {"p": ({"docker": NAME}, "echo done > $PKG_PATH/file")})
    (tree.parent / "mkpanda.toml").write_text("")
    bench.own(folder)
    layout, archive = folder / "layout", folder / "docker.tar"
    usual = bench.environment["MKPANDA_HOME"]
    numbers = iter(range(1000))

    def fresh():
        # Nothing is removed before the end: ext4 looks longer for the inodes of new files after that.
        os.sync()
        return folder / f"out/{next(numbers)}"

    def ours(source):
        remove(tree / "cache")
        bench.environment["MKPANDA_HOME"] = str(fresh())
        loaded = bench.run([bench.binary, "image", "load", source, "--name", NAME])
        built = bench.mkpanda(tree, "-j1")
        return loaded[0] + built[0], max(loaded[1], built[1]), loaded[0]

    def theirs(source):
        bundle, image, seconds = fresh(), f"{layout}:1", 0
        if source == archive:
            image = f"{fresh()}:1"
            seconds = bench.run(["skopeo", "--insecure-policy", "copy", f"docker-archive:{archive}",
                                 f"oci:{image}"])[0]
        unpacked = bench.run(["umoci", "unpack", "--rootless", "--image", image, bundle])
        return seconds + unpacked[0], unpacked[1]

    rows = []
    for what, source in ((f"image of 200 MB, {len(chosen())} files", layout),
                         ("the same as docker save writes it", archive)):
        pairs = [(ours(source), theirs(source)) for _ in range(rounds)]
        rows.append(row(what, median([p[0][0] for p in pairs]), median([p[1][0] for p in pairs]), "s", 0.5, 2))
        print(f"  of that, loading: {median([p[0][2] for p in pairs]):.2f} s", flush=True)
        rows.append(row("  memory", median([p[0][1] for p in pairs]) / 1e6,
                        median([p[1][1] for p in pairs]) / 1e6, "MB", 1))
    bench.environment["MKPANDA_HOME"] = usual
    remove(folder / "out")
    return rows
