"""A Dockerfile of 12 instructions, cold and fully cached, against `buildah build --layers`.

Both build the same folder from the same image as the same user. What the commands do is little, so that what is
measured is what each instruction costs beside it. No command has a network: buildah, which needs its chroot
isolation where a runtime is refused cgroups, then takes the machine's and makes none.
"""

import os
from statistics import median

from .common import remove, row

NAME, RESULT = "localhost/mkpanda-bench-base:1", "localhost/mkpanda-bench:1"
FILES = 400

DOCKERFILE = f"""FROM {NAME}
ENV GREETING=hello
WORKDIR /build
COPY many /build/many
COPY one /build/
RUN echo $GREETING > greeting
RUN mkdir -p /opt/made && echo made > /opt/made/file
COPY --chown=7:7 many /owned
RUN rm -r /build/many
RUN ls -lR /owned > /build/listing
LABEL made.by=bench
CMD ["/bin/sh"]
"""


def run(bench, rounds):
    folder, homes = bench.folder / "dockerfile", bench.folder / "dockerfile-homes"
    (folder / "many").mkdir(parents=True)
    homes.mkdir()
    for number in range(FILES):
        (folder / "many" / f"file-{number}").write_bytes(os.urandom(2048).hex().encode())
    (folder / "one").write_text("one\n")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    bench.own(folder)
    bench.own(homes)
    usual = bench.environment["MKPANDA_HOME"]
    numbers = iter(range(1000))

    def ours_fresh():
        bench.environment["MKPANDA_HOME"] = str(homes / f"ours-{next(numbers)}")
        bench.run([bench.binary, "image", "load", "--name", NAME, bench.image])

    def ours():
        return bench.run([bench.binary, "image", "build", "--network=none", "-t", RESULT, folder])[0]

    def theirs_fresh():
        home = homes / f"theirs-{next(numbers)}"
        buildah = ["buildah", "--root", home / "root", "--runroot", home / "run"]
        bench.run([*buildah, "pull", f"oci-archive:{bench.image}"])
        # The archive names it otherwise.
        bench.run(["sh", "-c", '"$@" tag "$("$@" images -q | head -n 1)" ' + NAME, "sh", *buildah])
        return buildah

    def theirs(buildah):
        return bench.run([*buildah, "build", "--layers", "--isolation=chroot", "--pull=never", "-t", RESULT,
                          folder])[0]

    cold, cached = ([], []), ([], [])
    for _ in range(rounds):
        ours_fresh()
        cold[0].append(ours())
        cached[0].append(ours())
        buildah = theirs_fresh()
        cold[1].append(theirs(buildah))
        cached[1].append(theirs(buildah))
    bench.environment["MKPANDA_HOME"] = usual
    rows = [row("12 instructions, cold, by buildah --layers", 1000 * median(cold[0]), 1000 * median(cold[1]), "ms",
                0.6),
            row("the same fully cached", 1000 * median(cached[0]), None, "ms", 50)]
    print(f"  buildah's, cached: {1000 * median(cached[1]):.0f} ms", flush=True)
    remove(homes)
    return rows
