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
from .result import FAILED, LEFT_OUT, NEITHER, PASSED, Suite

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


TOO_LONG = "longer than 300 s"
# Kinds of failures that are neither builder's fault: a pattern of the error that mkpanda gives, one of buildah's,
# and the reason. What fails in another way has failed.
STAND_INS = [
    (r"the command exited with code 127", r"exit status 127",
     "a program is missing in the image that stands in for public ones (exit code 127)"),
    (r"dns error|error sending request|can't pull", r"", "a network or a public image is needed"),
]
KINDS = STAND_INS + [
    (r"the command exited with code (?P<code>\d+)", r"exit status CODE\b|no stage found",
     "a command fails, for both alike: a file, an image or a program is missing that the suite's scripts or public "
     "images have"),
    (r"is left out of the build context by its", r"filtered out",
     "a file is missing that an ignore file of the suite leaves out"),
    (r"there is nothing to copy", r"no such file or directory|matched nothing", "no file matches a pattern"),
    (r"there is no \S+ in ", r"no such file or directory|matched nothing|exit status 1\b",
     "a file is missing that the suite's scripts make or an option gives"),
    (r"has no (user|group) ", r"unknown (user|group)",
     "a user or group is missing in the image that stands in for public ones"),
    (r"the secret \S+ is required", r"", "a secret is missing, which an option gives"),
    (r"is not a valid image (name|reference)|nothing to start from", r"invalid reference format|empty value|no FROM",
     "the name of an image is a variable, which an option gives"),
    (r'"linux/" is not a platform', r"", "a platform is a variable, which an option gives"),
    (r'the option "(z|Z|U|tmpcopyup)" is none of', r"",
     "an option of buildah and podman alone, which BuildKit refuses too"),
    (r"can't be a stage's name", r"", "the name of a stage has a $ or a /, which BuildKit refuses too"),
    (r"RUN has no command", r"", "RUN without a command, which BuildKit refuses too"),
    (r"is a variable, which from can't have", r"",
     "the source of --from is a variable, which BuildKit refuses too; buildah takes it if an option gives it"),
    (r"^error: \S+:\d+:\d+: ", r"only supports|invalid|nsupported|nknown|require|must|not allowed|no stage|no FROM",
     "refused as written, by both"),
]


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
        ours_said = theirs_said = ""
        try:
            ours = self.builders.by_mkpanda(name, context, ["-f", dockerfile, *arguments])
        except (Failed, subprocess.TimeoutExpired) as error:
            ours_said = last_line(error)
        try:
            theirs = self.builders.by_buildah(name, context, dockerfile, arguments)
        except (Failed, subprocess.TimeoutExpired) as error:
            theirs_said = last_line(error)
        found = differences(ours, theirs) if ours and theirs else []
        suite.add(case, *judged(ours_said, theirs_said, found, has_to_fail))


def judged(ours_said, theirs_said, found, has_to_fail):
    """The outcome of a case and its reason, from the messages of those that failed, and from differences."""
    if has_to_fail:
        # A program that the stand-in lacks, or an endless build, is not the failure that the suite means.
        stand_in = [reason for pattern, _, reason in STAND_INS if re.search(pattern, ours_said)]
        failed = [TOO_LONG in ours_said + theirs_said and "too long", not ours_said and "the build has to fail",
                  not theirs_said and "the peer builds it", *stand_in]
        failed = [text for text in failed if text]
        return FAILED if failed else PASSED, "; ".join(failed)
    if not ours_said and not theirs_said:
        more = [f"and {len(found) - 6} more"] if len(found) > 6 else []
        return FAILED if found else PASSED, "; ".join(found[:6] + more)
    if not theirs_said:
        return FAILED, f"mkpanda fails: {ours_said}"
    if not ours_said:
        return LEFT_OUT, "buildah fails"
    if kind := kind_of(KINDS, ours_said, theirs_said):
        return NEITHER, kind
    return FAILED, f"both fail: {ours_said}; buildah: {theirs_said}"


def kind_of(kinds, ours, theirs):
    """The reason why neither builder can build; None for a failure of no known kind."""
    for pattern, of_peer, reason in kinds:
        if found := re.search(pattern, ours):
            if re.search(of_peer.replace("CODE", found.groupdict().get("code", "")), theirs):
                return reason
    return None


def last_line(error):
    """The message of a failed build: the line with the error and the one after."""
    if isinstance(error, subprocess.TimeoutExpired):
        return TOO_LONG
    lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    for at, line in enumerate(lines):
        if re.match(r"(?i)error", line):
            # The place of the checkout changes from run to run. The reason stands at the end.
            text = re.sub(r"/var/tmp/\S*/contexts/", "", " / ".join(lines[at:at + 2]))
            return text if len(text) <= 500 else text[:150] + " … " + text[-350:]
    return (lines or [str(error)])[-1][:500]


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
