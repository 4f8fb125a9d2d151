"""A network that goes away, a server that dies half-way, a mirror that does."""

import signal
import time

from . import processes
from .checks import fails, finishes, nothing_half_done
from .place import sha1
from .server import Server


def forget_sources(place):
    place.forget(place.home / "git", *(place.cache / "packages" / name for name in ("alpha", "beta", "gamma")))


def cut(place, tier):
    """Bodies that break off, servers that are busy: tried again, and gone on with."""
    forget_sources(place)
    pack = next((place.server.folder / "beta.git/objects/pack").glob("*.pack")).name
    place.server.faults.update({
        f"beta.git/objects/pack/{pack}": ["cut"], "alpha-1.tar.gz": ["cut", 503, "cut"], "gamma.patch": ["cut"], "gamma-2.zip": [500],
        "beta.git/info/refs": [503, 503]})
    code, said = place.run(tier)
    assert code == 0, said
    assert "trying again in" in said, said
    finishes(place, tier)


def dead(place, tier):
    """Nobody listens: the URL is named after some attempts; with the network back the next run finishes."""
    forget_sources(place)
    place.server.stop()
    try:
        said = fails(place, tier, place.server.url("alpha-1.tar.gz"), "trying again in", "attempt 5, the last")
        assert "hint: check the network" in said, said
    finally:
        place.server.start()
    finishes(place, tier)


def dies(place, tier):
    """The server dies in the middle of a body, and comes back while it is waited for."""
    forget_sources(place)
    place.server.faults["alpha-1.tar.gz"] = ["cut"]
    seen = len(place.server.asked)
    run = place.start(tier)
    until = time.monotonic() + 60
    while "alpha-1.tar.gz" not in place.server.asked[seen:]:
        assert run.alive() and time.monotonic() < until, run.text()
        time.sleep(0.005)
    place.server.stop()
    time.sleep(1)
    place.server.start()
    assert run.end() == 0, run.text()
    finishes(place, tier)


def stalls(place, tier):
    """A body that stops coming: Ctrl-C ends the run, git with all that it started too."""
    for path, name in (("alpha-1.tar.gz", "alpha"), ("beta.git/HEAD", "beta"), ("beta.git/info/refs", "beta")):
        for number in (signal.SIGINT, signal.SIGKILL):
            finishes(place, tier)
            place.forget(place.home / "git", place.cache / "packages" / name)
            place.server.faults[path] = ["stall"] * 3
            seen = len(place.server.asked)
            run = place.start(tier)
            until = time.monotonic() + 60
            while path not in place.server.asked[seen:]:
                assert run.alive() and time.monotonic() < until, run.text()
                time.sleep(0.005)
            time.sleep(0.3)
            processes.send(run.pid, number)
            code = run.end(10)
            assert code == (130 if number == signal.SIGINT else -9), f"{path}: {code}\n{run.text()}"
            nothing_half_done(place, gone=2)
            place.server.faults.clear()
            place.server.go.set()
            place.server.go.clear()
    finishes(place, tier)


def mirror(place, tier):
    """A mirror that breaks off each time, or dies, is warned of, and the source's own URL is asked."""
    folder = place.folder / "mirror"
    (folder / "sha1").mkdir(parents=True, exist_ok=True)
    file = place.server.folder / "alpha-1.tar.gz"
    path = f"sha1/{sha1(file)}"
    (folder / path).write_bytes(file.read_bytes())
    server = Server(folder)
    forget_sources(place)
    server.faults[path] = ["cut"]
    code, said = place.run(tier, "--mirror", server.url())
    assert code == 0 and "trying again" in said and "a mirror failed" not in said, said
    forget_sources(place)
    server.faults[path] = ["stall"]
    until, seen = time.monotonic() + 60, len(server.asked)
    run = place.start(tier, "--mirror", server.url())
    while path not in server.asked[seen:]:
        assert run.alive() and time.monotonic() < until, run.text()
        time.sleep(0.005)
    server.stop()
    server.go.set()
    assert run.end() == 0, run.text()
    assert "a mirror failed" in run.text() and server.url() in run.text(), run.text()
    finishes(place, tier)


SCENARIOS = {"answers that break off": cut, "no network": dead, "a server that dies half-way": dies,
             "downloads that stall": stalls, "a mirror that dies half-way": mirror}
# Those of the short form.
SHORT = {"answers that break off", "downloads that stall"}
