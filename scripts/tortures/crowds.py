"""Several runs on one tree at once."""

import collections
import random
import re
import signal
import time

from . import processes
from .checks import finishes, nothing_half_done


def crowd(place, count, tiers, kill=False):
    place.forget(place.cache, *place.home.iterdir())
    runs = [place.start(tiers[number % len(tiers)], jobs=1 + number % 3) for number in range(count)]
    if kill:
        time.sleep(random.uniform(0.2, 2.0))
        processes.send(runs[0].pid, signal.SIGKILL)
    codes = [run.end() for run in runs]
    said = "\n".join(run.text() for run in runs[1 if kill else 0:])
    assert all(code == 0 for code in codes[1 if kill else 0:]), f"{codes}\n{said}"
    built = collections.Counter(re.findall(r"^ +built (\S+--[0-9a-f]{40})", "\n".join(run.text() for run in runs),
                                           re.MULTILINE))
    again = {name: times for name, times in built.items() if times != 1}
    assert not again or kill, f"built more than once: {again}\n{said}"
    assert len(built) == 8 or kill, f"{len(built)} packages were built: {sorted(built)}"
    nothing_half_done(place)
    wrong = place.differences(complete=True) + place.temporary()
    assert not wrong or kill, "\n".join(wrong)
    finishes(place, tiers[0])


def two(place, tier):
    crowd(place, 2, [tier])


def ten(place, tier):
    crowd(place, 10, [tier])


def ten_of_both(place, tier):
    if tier == "ranges" and place.user is not None:
        crowd(place, 10, ["ranges", "single"])


def ten_less_one(place, tier):
    crowd(place, 10, [tier], kill=True)


SCENARIOS = {"two at once": two, "ten at once": ten, "ten at once in both tiers": ten_of_both,
             "ten at once, one of them killed": ten_less_one}
# Those of the short form.
SHORT = {"ten at once"}
