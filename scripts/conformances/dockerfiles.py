"""Dockerfiles of other builders' suites, built by mkpanda and by buildah, and compared.

FROM lines name public images, which are not fetched: the image `common` stands in for all of them, and digests in
names are left away.
"""

import pathlib
import re
import shutil
import subprocess

from .gotable import Unknown, cases, mapping, prepare, string
from .images import Builders, Failed, differences
from .result import FAILED, LEFT_OUT, PASSED, Suite

DIGEST = re.compile(r"(?<=[\w}])@sha256:[0-9a-f]{64}")
NAMED = re.compile(r"^\s*(?:FROM\s+(?:--\S+\s+)*|(?:COPY|ADD)\s.*--from=|RUN\s.*\bfrom=)([^\s,]+)", re.I | re.M)
ARGUMENT = re.compile(r"^\s*ARG\s+(\w+)=(\S+)", re.I | re.M)
# Arguments that kaniko's integration/images.go gives to its Dockerfiles.
KANIKO = {
    "run": ["file=/file"], "run_new": ["file=/file"], "run_redo": ["file=/file"],
    "workdir": ["workdir=/arg/workdir"], "add": ["file=context/foo"], "onbuild": ["file=/tmp/onbuild"],
    "arg_secret": ["SSH_PRIVATE_KEY=x", "SSH_PUBLIC_KEY=y"], "multistage": ["file=/foo2"],
    "scratch": ["image=scratch", "hello=hello-value", "file=context/foo", "file3=context/b*"],
}


def is_dockerfile(path):
    return (path.is_file() and re.match(r"(Dockerfile|Containerfile)", path.name)
            and not path.name.endswith((".in", "ignore")))


def names_in(texts):
    """Names of images in FROM and in from=, with the values of ARG put in."""
    names = {"alpine", "busybox", "debian", "ubuntu"}
    for text in texts:
        stages = set(re.findall(r"\bAS\s+(\S+)", text, re.I))
        values = dict(ARGUMENT.findall(text))
        for name in NAMED.findall(text):
            name = re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found.group(1), "$").strip("\"'"), name)
            name = DIGEST.sub("", name).strip("\"'")
            if re.fullmatch(r"[a-z0-9][a-z0-9._/-]*(:[\w.-]+)?(/[a-z0-9._/-]+)*(:[\w.-]+)?", name) \
                    and not name.isdigit() and name not in stages | {"scratch"}:
                names.add(name)
    return sorted(names)


class Comparison:
    def __init__(self, builders):
        self.builders = builders

    def stage(self, name, source):
        """Copies a build context, without digests in its Dockerfiles."""
        place = self.builders.place / "contexts" / name
        if place.exists():
            shutil.rmtree(place)
        place.parent.mkdir(exist_ok=True)
        if source is None:
            place.mkdir()
        else:
            shutil.copytree(source, place, symlinks=True, ignore=lambda _, names: [n for n in names if n == ".git"])
        for path in place.rglob("*"):
            if is_dockerfile(path) and not path.is_symlink():
                text = path.read_bytes().decode("utf-8", "surrogateescape")
                path.write_bytes(DIGEST.sub("", text).encode("utf-8", "surrogateescape"))
        return place

    def compare(self, suite, case, context, dockerfile, arguments, has_to_fail=False):
        name = re.sub(r"[^a-z0-9]+", "-", case.lower()).strip("-")
        ours = theirs = None
        try:
            ours = self.builders.by_mkpanda(name, context, ["-f", dockerfile, *arguments])
            ours_said = ""
        except (Failed, subprocess.TimeoutExpired) as error:
            ours_said = last_line(error)
        if has_to_fail:
            suite.add(case, FAILED if ours else PASSED, "the build has to fail" if ours else "")
            return
        try:
            theirs = self.builders.by_buildah(name, context, dockerfile, arguments)
            theirs_said = ""
        except (Failed, subprocess.TimeoutExpired) as error:
            theirs_said = last_line(error)
        if ours and theirs:
            found = differences(ours, theirs)
            suite.add(case, FAILED if found else PASSED, "; ".join(found[:6]))
        elif theirs:
            suite.add(case, FAILED, f"mkpanda fails: {ours_said}")
        elif ours:
            suite.add(case, LEFT_OUT, f"the peer fails: {theirs_said}")
        else:
            suite.add(case, LEFT_OUT, f"both fail: {ours_said}")


def last_line(error):
    """The message of a failed build: the line with the error and the one after."""
    if isinstance(error, subprocess.TimeoutExpired):
        return "longer than 300 s"
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    for at, line in enumerate(lines):
        if re.match(r"(?i)error", line):
            # The place of the checkout changes from run to run.
            return re.sub(r"/var/tmp/\S*/contexts/", "", " / ".join(lines[at:at + 2]))[:250]
    return (lines or [str(error)])[-1][:250]


def builders_for(mkpanda, place, texts):
    builders = Builders(mkpanda, place, single=False)
    builders.prepare("common", names_in(texts))
    return builders


def read(path):
    return path.read_bytes().decode("utf-8", "replace")


def buildah_conformance(mkpanda, place, checkout, commit, wanted):
    """The table of buildah's tests/conformance, which its authors compare with Docker."""
    suite = Suite("buildah tests/conformance", commit)
    table = list(cases(read(checkout / "tests/conformance/conformance_test.go")))
    data = checkout / "tests/conformance/testdata"
    texts = [string(case["dockerfileContents"]) for case in table if "dockerfileContents" in case]
    texts += [read(path) for path in data.rglob("*") if is_dockerfile(path)]
    comparison = Comparison(builders_for(mkpanda, place, texts))
    for fields in table:
        case = string(fields["name"])
        if wanted and not re.search(wanted, case):
            continue
        if "transientMounts" in fields:
            suite.add(case, LEFT_OUT, "an option of buildah alone (transient mounts)")
            continue
        context = data / string(fields["contextDir"]) if "contextDir" in fields else None
        if context is None and "dockerfile" in fields:
            context = data
        name = re.sub(r"[^a-z0-9]+", "-", case.lower()).strip("-")
        place = comparison.stage(name, context)
        try:
            if "tweakContextDir" in fields:
                prepare(fields["tweakContextDir"], place)
            # The suite runs as root, who reads files without the right.
            if (place / ".dockerignore").exists():
                (place / ".dockerignore").chmod(0o644)
        except Unknown:
            suite.add(case, LEFT_OUT, "Go code makes its context (other owners, extended attributes, archives)")
            continue
        dockerfile = place / (string(fields["dockerfile"]) if "dockerfile" in fields else "Dockerfile")
        if "dockerfileContents" in fields:
            dockerfile = place.with_suffix(".Dockerfile")
            dockerfile.write_text(string(fields["dockerfileContents"]))
        arguments = []
        for key, value in mapping(fields.get("buildArgs", "")).items():
            arguments += ["--build-arg", f"{key}={value}"]
        fails = fields.get("shouldFailAt", "0") != "0"
        comparison.compare(suite, case, place, dockerfile, arguments, fails)
    return suite


# Dockerfiles that never end by design.
ENDLESS = {"long-sleep"}


def buildah_bud(mkpanda, place, checkout, commit, wanted):
    """The Dockerfiles below buildah's tests/bud, without the options that its scripts give."""
    suite = Suite("buildah tests/bud", commit)
    folder = checkout / "tests/bud"
    found = sorted(path for path in folder.rglob("*") if is_dockerfile(path))
    comparison = Comparison(builders_for(mkpanda, place, [read(path) for path in found]))
    for path in found:
        case = str(path.relative_to(folder))
        if wanted and not re.search(wanted, case):
            continue
        if path.relative_to(folder).parts[0] in ENDLESS:
            suite.add(case, LEFT_OUT, "never ends by design")
            continue
        place = comparison.stage(case.replace("/", "--"), path.parent)
        comparison.compare(suite, case, place, place / path.name, [])
    return suite


def kaniko(mkpanda, place, checkout, commit, wanted):
    """kaniko's integration/dockerfiles, with the arguments of its integration/images.go."""
    suite = Suite("kaniko integration/dockerfiles", commit)
    folder = checkout / "integration/dockerfiles"
    found = sorted(path for path in folder.iterdir() if is_dockerfile(path))
    comparison = Comparison(builders_for(mkpanda, place, [read(path) for path in found]))
    context = comparison.stage("kaniko", checkout / "integration")
    for path in found:
        if wanted and not re.search(wanted, path.name):
            continue
        arguments = []
        for argument in KANIKO.get(path.name.removeprefix("Dockerfile_test_"), []):
            arguments += ["--build-arg", argument]
        if path.name == "Dockerfile_test_target":
            arguments.append("--target=second")
        comparison.compare(suite, path.name, context, context / "dockerfiles" / path.name, arguments)
    return suite
