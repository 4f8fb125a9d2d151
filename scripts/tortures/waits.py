"""Processes that are stopped, and clocks that jump."""

import contextlib
import os
import shutil
import signal
import subprocess
import time

from . import processes
from .checks import finishes, nothing_half_done
from .place import HELD


@contextlib.contextmanager
def held(place, tier, environment=None):
    """A run whose build goes on until `release`, with the processes that it has then."""
    place.forget(*place.cache.glob("packages/epsilon"))
    hold = place.packages / "epsilon/hold"
    hold.touch()
    run = place.start(tier, jobs=1, environment=environment)
    until = time.monotonic() + 60
    while not sleeping(run):
        assert run.alive() and time.monotonic() < until, f"no build began:\n{run.text()}"
        time.sleep(0.01)
    try:
        yield run, processes.roles(run.pid), lambda: release(run)
    finally:
        hold.unlink(missing_ok=True)
        processes.end_all()


def sleeping(run):
    """What its build waits for."""
    return [pid for pid, _ in processes.descendants(run.pid) if processes.command(pid) == HELD]


def release(run):
    """Lets the build go on."""
    for pid in sleeping(run):
        processes.send(pid, signal.SIGTERM)


def stop(run, role):
    """Stops one of a run's processes that is at work, and gives its number: not one that waits for the next build, or has just ended."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = processes.roles(run.pid)[role]
        working = [pid for pid in found if role != "inner" or processes.descendants(pid)]
        for pid in working[:1]:
            processes.send(pid, signal.SIGSTOP)
            time.sleep(0.02)
            if processes.state(pid)[0] == "T":
                return pid
    raise AssertionError(f"there was no {role} to be stopped:\n{run.text()}")


def stopped(place, tier):
    """Whoever is stopped: Ctrl-C ends all; SIGCONT lets it go on."""
    for role in ("helper", "inner", "init", "build"):
        with held(place, tier) as (run, _, _):
            stop(run, role)
            time.sleep(0.1)
            began = time.monotonic()
            processes.send(run.pid, signal.SIGINT)
            code = run.end(20)
            assert code == 130, f"{role} stopped, interrupted: it ended with {code}:\n{run.text()}"
            assert time.monotonic() - began < 10, f"{role} stopped: it took {time.monotonic() - began:.1f} s"
            assert "failed " not in run.text(), f"an interruption is no failure:\n{run.text()}"
            nothing_half_done(place)
            assert not place.temporary(), place.temporary()
        with held(place, tier) as (run, _, release):
            pid = stop(run, role)
            release()
            time.sleep(0.3)
            assert run.alive(), f"{role} stopped: it went on:\n{run.text()}"
            processes.send(pid, signal.SIGCONT)
            code = run.end()
            assert code == 0, f"{role} stopped and continued: it ended with {code}:\n{run.text()}"
        finishes(place, tier)


def limited(place, tier):
    """A time limit is kept whoever is stopped."""
    for role in ("inner", "init"):
        with held(place, tier, {"MKPANDA_LIMITS_TIME": "2s"}) as (run, _, _):
            stop(run, role)
            code = run.end(40)
            assert code == 1, f"{role} stopped: it ended with {code}:\n{run.text()}"
            text = "was stopped, or hangs" if role == "inner" else "ended after its time limit"
            assert text in run.text(), run.text()
            nothing_half_done(place)
            assert not place.temporary(), place.temporary()
    finishes(place, tier)


def set_times(place, when):
    for root in (place.packages, place.cache, place.home):
        for path, folders, names in os.walk(root):
            for name in (*folders, *names):
                with contextlib.suppress(OSError):
                    os.utime(os.path.join(path, name), (when, when), follow_symlinks=False)


def old_and_new_files(place, tier):
    """Files from the future and from before the epoch: nothing is built again, and what is, is the same."""
    for when in (4_102_444_800, -1_000_000):
        finishes(place, tier)
        set_times(place, when)
        code, said = place.run(tier)
        assert code == 0 and "built " not in said, said
        place.forget(place.cache / "packages/alpha", place.cache / "packages/delta", place.cache / "bootstrap")
        finishes(place, tier)


def jumping_clock(place, tier):
    """The clock of mkpanda and its helpers jumps while it runs: years ahead, years back."""
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    if not os.path.exists(library):
        print(f"skipped  a jumping clock: {library} is missing (apt-get install libfaketime)", flush=True)
        return
    shown = place.tmp.parent / "clock"
    for first, then in (("+10y", "-20y"), ("-10y", "+30y"), ("+0", "@1971-06-01 00:00:00")):
        place.forget(place.cache, *place.home.iterdir())
        shown.write_text(f"{first}\n")
        run = place.start(tier, environment={"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(shown),
                                             "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"})
        while run.alive():
            time.sleep(0.4)
            shown.write_text(f"{then}\n")
            time.sleep(0.4)
            shown.write_text(f"{first}\n")
        assert run.end() == 0, f"{first}, {then}: {run.text()}"
        wrong = place.differences(complete=True) + place.temporary()
        assert not wrong, f"{first}, {then}: {wrong}"
        finishes(place, tier)


def other_time(place, tier):
    """A time namespace: the monotonic clock is years ahead of that of processes outside."""
    if place.user is not None or os.getuid() != 0 or not shutil.which("unshare"):
        return
    place.forget(place.cache)
    prefix = ["unshare", "--time", "--monotonic", "300000000", "--boottime", "300000000", "--"]
    code, said = place.run(tier, prefix=prefix)
    assert code == 0, said
    finishes(place, tier)


SCENARIOS = {"stopped processes, Ctrl-C and SIGCONT": stopped, "stopped processes and a time limit": limited,
             "files from the future and the past": old_and_new_files, "a clock that jumps": jumping_clock,
             "another monotonic clock": other_time}
# Those of the short form.
SHORT = {"stopped processes, Ctrl-C and SIGCONT"}
