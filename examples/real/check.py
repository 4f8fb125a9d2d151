#!/opt/mesosphere/bin/python3
"""Runs the programs of a bootstrap that lies at /opt/mesosphere, and says what each of them did.

usage: check.py static|shared [LIBRARY…]    how its curl has OpenSSL; what besides the C library may be the machine's

It needs nothing but the C library, a writable /tmp, /proc and the loopback interface.
"""

import ctypes
import curses
import curses.panel
import functools
import hashlib
import http.server
import importlib
import lzma
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading

import docopt

ROOT = pathlib.Path("/opt/mesosphere")
# Of the machine, a program may use the C library alone.
C_LIBRARY = ("ld-linux", "libc.so", "libm.so", "libdl.so", "libpthread.so", "libutil.so", "libcrypt.so")
REQUEST = """[req]
distinguished_name = name
[name]
"""


def modules(of_machine):
    pure = [docopt]
    if (ROOT / "bin/calculator").exists():
        pure.append(importlib.import_module("ply.yacc"))
    for module in (ctypes, curses, hashlib, lzma, ssl, *pure):
        assert pathlib.Path(module.__file__).resolve().is_relative_to(ROOT / "packages"), module
    strlen = ctypes.CDLL(None).strlen
    strlen.argtypes = [ctypes.c_char_p]
    assert strlen(b"panda") == 5
    assert lzma.decompress(lzma.compress(b"bamboo")) == b"bamboo"
    assert hashlib.new("sha3_256", b"").hexdigest().startswith("a7ffc6f8bf1ed766")
    with open(os.devnull, "wb") as nothing:
        curses.setupterm("xterm-256color", nothing.fileno())
    assert curses.tigetnum("colors") == 256
    arguments = docopt.docopt("usage: sum <number>...", ["1", "2"])
    assert arguments == {"<number>": ["1", "2"]}
    mapped = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
    foreign = [path for path in mapped if not path.startswith(str(ROOT))
               and not os.path.basename(path).startswith((*C_LIBRARY, *of_machine))]
    assert not foreign, foreign
    print(f"python {sys.version.split()[0]}: ssl ({ssl.OPENSSL_VERSION}), lzma, ctypes, curses, "
          f"{', '.join(module.__name__ for module in pure)}; {len(mapped)} libraries, of the machine's "
          f"{' and '.join(['the C library', *of_machine]) if of_machine else 'the C library alone'}")


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options).stdout


def curl(folder, linkage):
    libraries = run("/opt/mesosphere/bin/curl", env={**os.environ, "LD_TRACE_LOADED_OBJECTS": "1"})
    assert ("libssl" in libraries) == (linkage == "shared"), libraries
    first = run("curl", "--version").splitlines()[0]
    assert ssl.OPENSSL_VERSION.split()[1] in first, first
    (folder / "request").write_text(REQUEST)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-config", folder / "request",
        "-subj", "/CN=panda", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
        "-keyout", folder / "key", "-out", folder / "certificate")
    (folder / "site").mkdir()
    text = "fetched by TLS\n" * 100_000
    (folder / "site/file").write_text(text)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    class Refusable(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            """A client that doesn't trust the certificate hangs up."""

    server = Refusable(("127.0.0.1", 0), functools.partial(Quiet, directory=folder / "site"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{server.server_port}/file"
    assert run("curl", "-sS", "--cacert", folder / "certificate", url) == text
    distrusting = subprocess.run(["curl", "-s", "--cacert", "/dev/null", url], check=False)
    assert distrusting.returncode in (60, 77), distrusting
    print(f"{' '.join(first.split()[:2])} ({linkage}): {len(text)} bytes by TLS from a server that it trusts, "
          "none from one that it doesn't")


def main(linkage, *of_machine):
    modules(of_machine)
    with tempfile.TemporaryDirectory() as folder:
        curl(pathlib.Path(folder), linkage)
    if (ROOT / "bin/calculator").exists():
        print(f"calculator: {run('calculator', '--self-test').strip()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
