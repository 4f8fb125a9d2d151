"""Rounds: SIGKILL at a random moment of a build from a random partial state, then everything is looked at.

Right after the kill: no process of the run is left, no mount, nothing half-written has a final name. After the
next run, which has to succeed: what lies there is what an undisturbed run leaves, and nothing else.
"""

import random as random_module
import signal
import time

from . import processes

VICTIMS = {"parent": 10, "helper": 3, "inner": 3, "init": 2, "build": 2, "git": 1}
GONE = 10
FIXED = random_module.Random(0)


def reference(place, tiers):
    """Builds from nothing with each tier, undisturbed; all have to give the same."""
    found = []
    for tier in tiers:
        place.forget(place.cache, *place.home.iterdir())
        began = time.monotonic()
        code, text = place.run(tier)
        if code != 0:
            raise SystemExit(f"torture: the undisturbed run of {place.name()} ended with {code}:\n{text}")
        place.times[tier] = time.monotonic() - began
        found.append(place.compared(place.snapshot()))
        if left := place.temporary():
            raise SystemExit(f"torture: the undisturbed run left {left}")
    place.reference = {}
    for state in found:
        for name, value in state.items():
            if place.reference.setdefault(name, value) != value:
                raise SystemExit(f"torture: {name} differs between {tiers}")
    return len(place.reference)


def forget_some(place, random):
    """Takes away a random part of what is there; says how much, from 0 to 1."""
    share = random.choice((0.15, 0.5, 1.0, 1.0))
    if share == 1.0 and random.random() < 0.5:
        place.forget(place.cache, *place.home.iterdir())
        return 1.0
    taken = [0, 0]

    def some(path):
        taken[1] += 1
        if path.exists() and random.random() < share:
            taken[0] += 1
            place.remove(path)

    for folder in (place.cache / "packages").glob("*"):
        for archive in folder.glob("*.tar.xz"):
            some(archive)
        for source in folder.glob("*/"):
            if random.random() < 0.5:
                some(source)
        for latest in folder.glob("*latest"):
            if random.random() < 0.3:
                some(latest)
    for folder in (place.cache / "bootstrap", place.cache / "complete"):
        for file in folder.glob("*"):
            some(file)
    for folder in (place.home / "packages").glob("*"):
        some(folder)
    for name in ("images", "layers", "builds"):
        if random.random() < 0.3:
            some(place.home / name)
    return taken[0] / max(taken[1], 1)


def moment(run, duration, random):
    """Waits for the moment: after a time, or after a line of output and a breath."""
    if random.random() < 0.6:
        until = time.monotonic() + random.uniform(0, duration)
        while time.monotonic() < until and run.alive():
            time.sleep(min(0.01, max(0, until - time.monotonic())))
        return
    lines = random.randrange(1, 16)
    until = time.monotonic() + 2 * duration
    while run.text().count("\n") < lines and run.alive() and time.monotonic() < until:
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.04))


def choose(run, role, limit):
    """A process of that role, waited for; the parent if there is none any more."""
    until = time.monotonic() + limit
    while run.alive():
        if pids := processes.roles(run.pid)[role]:
            return role, pids
        if time.monotonic() > until:
            break
    return "parent", [run.pid]


def one_round(place, tier, random):
    """Gives what happened in a few words, and what was wrong."""
    place.server.faults.clear()
    share = forget_some(place, random)
    if random.random() < 0.3:
        names = ["alpha-1.tar.gz", "gamma-2.zip", "gamma.patch", "beta.git/packed-refs"]
        place.server.faults.update({random.choice(names): ["drip"]})
    jobs = random.choice((1, 2, 4))
    wrong = []
    before = processes.mounts()
    run = place.start(tier, jobs=jobs)
    moment(run, place.times[tier] * max(share, 0.15), random)
    role = random.choices(list(VICTIMS), VICTIMS.values())[0]
    role, pids = choose(run, role, 0.2)
    alive = run.alive()
    processes.send(random.choice(pids), signal.SIGKILL)
    code = run.end()
    how = f"{role} of -j{jobs} from {share:.0%}" if alive else "nobody, it was over"
    if code is None:
        wrong.append(f"the run did not end:\n{run.text()}")
    elif code not in ((-9,) if role == "parent" and alive else (0, 1)):
        wrong.append(f"the run ended with {code}:\n{run.text()}")
    wrong += [f"left alive: {left}" for left in processes.all_gone(GONE)]
    processes.end_all()
    if processes.mounts() != before:
        wrong.append("a mount is left")
    wrong += place.differences(complete=False)
    wrong += [f"lock held: {path}" for path in place.held_locks()]
    if code in (0, 1):
        allowed = str(place.home / "packages"), str(place.home / "layers")
        wrong += [f"left by a run that ended: {path}" for path in place.temporary()
                  if not path.startswith(allowed)]
        if code == 1 and "error: " not in run.text():
            wrong.append(f"failed without saying why:\n{run.text()}")
    wrong = [f"after the kill: {text}" for text in wrong]
    if not wrong or code is not None:
        wrong += finish(place, tier, random)
    return how, wrong


def finish(place, tier, random):
    code, text = place.run(tier, jobs=random.choice((1, 2, 4)))
    wrong = [] if code == 0 else [f"it ended with {code}:\n{text}"]
    wrong += [f"left alive: {left}" for left in processes.all_gone(2)]
    wrong += place.differences(complete=True)
    wrong += [f"left: {path}" for path in place.temporary()]
    wrong += [f"lock held: {path}" for path in place.held_locks()]
    return [f"after the next run: {text}" for text in wrong]
