"""The table of docs/conformance.md."""

import dataclasses
import json

from .result import DIFFERENT, FAILED, LEFT_OUT, NEITHER, PASSED, Result, Suite


def failures(suite):
    """Number of failed cases, and of explanations that explain nothing any more."""
    return suite.count(FAILED) + len(suite.unused())


def table(suites):
    lines = ["| suite | commit | cases | apply | passed | deliberate differences | neither builds | failed |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for suite in suites:
        every = len(suite.results)
        lines.append(f"| {suite.name} | `{suite.commit[:12]}` | {every} | {every - suite.count(LEFT_OUT)} "
                     f"| {suite.count(PASSED)} | {suite.count(DIFFERENT)} | {suite.count(NEITHER)} | {suite.count(FAILED)} |")
    for outcome, title in ((FAILED, "Failed"), (DIFFERENT, "Deliberate differences")):
        rows = [(suite.name, result) for suite in suites for result in suite.results if result.outcome == outcome]
        if rows:
            lines += ["", f"### {title}", "", "| suite | case | reason |", "| --- | --- | --- |"]
            lines += [f"| {name} | {result.case} | {escaped(result.reason)} |" for name, result in rows]
    for outcome, title in ((NEITHER, "Neither builds"), (LEFT_OUT, "Left out")):
        lines += by_reason(suites, outcome, title)
    return "\n".join(lines) + "\n"


def escaped(text):
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def write(suites, path):
    path.write_text(json.dumps([[suite.name, suite.commit, [dataclasses.astuple(result) for result in suite.results],
                                sorted(suite.used)]
                                for suite in suites]))


def read(path):
    suites = []
    for name, commit, results, used in json.loads(path.read_text()):
        suite = Suite(name, commit)
        suite.results = [Result(*result) for result in results]
        suite.used = set(used)
        suites.append(suite)
    return suites


def by_reason(suites, outcome, title):
    """The cases of an outcome, a row for each reason."""
    reasons = {}
    for suite in suites:
        for result in suite.results:
            if result.outcome == outcome:
                reasons.setdefault((suite.name, result.reason), []).append(result.case)
    if not reasons:
        return []
    lines = ["", f"### {title}", "", "| suite | cases | reason |", "| --- | --- | --- |"]
    for (name, reason), names in reasons.items():
        shown = ", ".join(names) if len(names) < 4 else f"{len(names)} cases"
        lines.append(f"| {name} | {shown} | {escaped(reason)} |")
    return lines
