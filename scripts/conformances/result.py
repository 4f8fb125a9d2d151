"""Results of one case, and the deliberate differences that explain some of them."""

import dataclasses
import json
import pathlib
import re

PASSED = "passed"
FAILED = "failed"
# The case cannot be tried: it needs a network, another machine, or a feature of its own builder.
LEFT_OUT = "left out"
# Neither mkpanda nor the peer builds it, and the reason is of a known kind.
NEITHER = "neither builds"
# Deliberately different: the reason stands in differences.json.
DIFFERENT = "deliberate difference"

DIFFERENCES = pathlib.Path(__file__).with_name("differences.json")


@dataclasses.dataclass
class Result:
    case: str
    outcome: str
    reason: str = ""


class Suite:
    """The results of one suite.

    differences.json explains results: suite -> case -> outcome, the reason, and what is found, as a whole, in which
    "…" stands for any text. A case that fails in another way than it is known to has failed.
    """

    def __init__(self, name, commit):
        self.name, self.commit = name, commit
        self.results = []
        self.used = set()
        self.known = json.loads(DIFFERENCES.read_text()).get(name, {})

    def add(self, case, outcome, reason=""):
        known = self.known.get(case)
        if outcome == FAILED and known and is_like(known["found"], reason):
            outcome, reason = known["outcome"], known["reason"]
            self.used.add(case)
        self.results.append(Result(case, outcome, reason))
        print(f"{self.name}: {case}: {outcome}{': ' + reason if reason else ''}", flush=True)

    def count(self, outcome):
        return sum(result.outcome == outcome for result in self.results)

    def unused(self):
        """Known differences of cases that were tried and do not differ any more."""
        tried = {result.case for result in self.results}
        return sorted(case for case in self.known if case in tried - self.used)


def is_like(found, text):
    """True if a text is the known one, in which "…" stands for any other."""
    return re.fullmatch(".*".join(map(re.escape, found.split("…"))), text, re.S) is not None
