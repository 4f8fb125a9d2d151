"""A tree with real compiles in the machine's own /usr, whose scripts call plain `make` and share the cores by the
jobserver, against the same tree whose scripts call `make -j$NUM_CORES` with fixed shares; as many packages at once."""

from statistics import median

from .common import DEFAULT_IMAGE, THREADS, row

# Package -> what it requires, and how many C files it has: a long one beside short ones, as trees are.
PACKAGES = {"base": ([], 6), "long": (["base"], 24), "short1": (["base"], 3), "short2": (["base"], 3),
            "short3": ([], 4), "top": (["long", "short1", "short2", "short3"], 8)}
# Before make comes what no jobserver makes parallel: configure's many small compilations.
SCRIPT = """set -o errexit
cp /pkg/extra/* /tmp
cd /tmp
for n in 1 2 3 4 5 6; do cc -O2 -c -o probe.o probe.c; done
{make}
cp lib.a "$PKG_PATH/"
"""
MAKEFILE = "lib.a: {objects}\n\tar rcD $@ $^\n%.o: %.c\n\tcc -O2 -c -o $@ $<\n"
FUNCTION = """int f{n}(int a, int b) {{
    char text[64];
    int sum = 0;
    for (int k = 0; k < a; k++) for (int l = 0; l < b; l++) sum += (k * {n} ^ l) % ({m} + k);
    snprintf(text, sizeof text, "%d", sum);
    return sum + text[0];
}}
"""


def source(first, functions):
    return "#include <stdio.h>\n" + "".join(FUNCTION.format(n=first + n, m=n + 7) for n in range(functions))


def write(bench, name, make):
    """Writes the tree with build scripts that call make in one way or the other."""
    tree = bench.tree(name, {package: ({"requires": requires}, SCRIPT.format(make=make))
                             for package, (requires, _) in PACKAGES.items()})
    (tree.parent / "mkpanda.toml").write_text(f'[images]\n"{DEFAULT_IMAGE}" = "host"\n')
    for package, (_, files) in PACKAGES.items():
        extra = tree / package / "extra"
        extra.mkdir()
        (extra / "probe.c").write_text(source(0, 4))
        for number in range(files):
            (extra / f"u{number}.c").write_text(source(100 * number, 60))
        objects = " ".join(f"u{number}.o" for number in range(files))
        (extra / "Makefile").write_text(MAKEFILE.format(objects=objects))
    bench.own(tree.parent)
    return tree


def run(bench, rounds):
    if THREADS == 1:
        print("jobserver: there is one core, and so nothing to share")
        return []
    shared = write(bench, "jobserver", "make")
    fixed = write(bench, "fixed-shares", 'make -j"$NUM_CORES"')
    ours, theirs = [], []
    for _ in range(rounds):
        bench.forget(shared)
        ours.append(bench.mkpanda(shared, f"-j{THREADS}")[0])
        bench.forget(fixed)
        theirs.append(bench.mkpanda(fixed, f"-j{THREADS}", "--jobserver=off")[0])
    return [row(f"6 packages in C, -j{THREADS}, against fixed shares", median(ours), median(theirs), "s", 0.95)]
