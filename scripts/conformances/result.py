"""Results of one case, and the deliberate differences that explain some of them."""

import dataclasses
import json
import pathlib

PASSED = "passed"
FAILED = "failed"
# The case cannot be tried: it needs a network, another machine, or a feature of its own builder.
LEFT_OUT = "left out"
# Deliberately different: the reason stands in differences.json.
DIFFERENT = "deliberate difference"

DIFFERENCES = pathlib.Path(__file__).with_name("differences.json")


@dataclasses.dataclass
class Result:
    case: str
    outcome: str
    reason: str = ""


class Suite:
    """The results of one suite. A failed case with a known reason is a deliberate difference."""

    def __init__(self, name, commit):
        self.name, self.commit = name, commit
        self.results = []
        self.known = json.loads(DIFFERENCES.read_text()).get(name, {})

    def add(self, case, outcome, reason=""):
        if outcome == FAILED and case in self.known:
            outcome, reason = DIFFERENT, self.known[case]
        self.results.append(Result(case, outcome, reason))
        print(f"{self.name}: {case}: {outcome}{': ' + reason if reason else ''}", flush=True)

    def count(self, outcome):
        return sum(result.outcome == outcome for result in self.results)

    def unused(self):
        """Known differences that did not appear."""
        seen = {result.case for result in self.results if result.outcome == DIFFERENT}
        tried = {result.case for result in self.results}
        return sorted(case for case in self.known if case in tried and case not in seen)
