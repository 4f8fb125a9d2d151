"""`mkpanda tree` where nothing is to be done."""

from statistics import median

from .common import row


def run(bench, rounds):
    packages = {f"p{n:03}": ({"requires": [f"p{n - 1:03}"]} if n % 10 else {}, "echo done > $PKG_PATH/file")
                for n in range(100)}
    tree = bench.tree("nothing", packages)
    bench.mkpanda(tree)
    runs = [bench.mkpanda(tree)[0] for _ in range(5 * rounds)]
    return [row("nothing to do, 100 packages", 1000 * median(runs), None, "ms", 50)]
