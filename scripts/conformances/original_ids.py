"""Computes the package ids of a tree by the original's own Python code.

usage: original_ids.py CHECKOUT IMAGE_ID

CHECKOUT is a checkout of dcos/dcos. Builds are not run: each package counts as built once its id is known. Prints
JSON: `ids` has `<name>--<version>` by `<name>` or `<name>/<variant>`, `errors` the message of each package that the
original refuses.
"""

import collections
import collections.abc
import importlib.abc
import importlib.machinery
import json
import os
import sys
import types
from unittest.mock import MagicMock


LIBRARIES = {"gen", "release", "azure", "boto3", "botocore", "coloredlogs", "docopt", "flask", "jinja2", "passlib", "requests",
             "retrying", "teamcity", "yaml"}


class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for libraries that the computation of ids does not need (requests, teamcity and the like)."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in LIBRARIES:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []
        module.__getattr__ = lambda name: (_ for _ in ()).throw(AttributeError(name)) \
            if name.startswith("__") else MagicMock()
        return module

    def exec_module(self, module):
        pass


def main(checkout, image):
    # Names that Python 3.10 took away.
    for name in ("Callable", "Iterable", "Mapping", "MutableMapping", "Sequence"):
        setattr(collections, name, getattr(collections.abc, name))
    sys.path.insert(0, checkout)
    sys.meta_path.insert(0, Missing())
    import pkgpanda.build as build

    build.get_docker_id = lambda name: image
    real_exists = os.path.exists

    def exists(path):
        # The archive of a package: made empty, so that the package counts as built.
        if path.endswith(".tar.xz") and not real_exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
        return real_exists(path)

    build.exists = exists
    said, sys.stdout = sys.stdout, sys.stderr
    store = build.PackageStore(checkout + "/packages", None)
    ids, errors = {}, {}
    for name, variant in sorted(store.packages, key=lambda key: (key[0], key[1] or "")):
        label = f"{name}/{variant}" if variant else name
        try:
            build.build(store, name, variant, True, recursive=True)
            with open(store.get_last_build_filename(name, variant)) as last:
                ids[label] = last.read().strip()
        except Exception as error:
            errors[label] = f"{type(error).__name__}: {error}"
    json.dump({"ids": ids, "errors": errors}, said)


main(*sys.argv[1:])
