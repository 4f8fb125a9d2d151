"""Reads the table of cases in buildah's tests/conformance/conformance_test.go.

The table is Go source. Only the forms that occur in it are known: fields with a string, a number, a list or a map
of strings, strings.Join, and the statements by which a case prepares its build context.
"""

import re
import os
import pathlib


class Unknown(Exception):
    """A statement of another form."""


STRING = r'"(?:[^"\\]|\\.)*"|`[^`]*`'


def text(literal):
    if literal.startswith("`"):
        return literal[1:-1]
    simple = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "r": "\r", "'": "'"}
    return re.sub(r"\\(.)", lambda found: simple[found.group(1)], literal[1:-1])


def cases(source):
    """Yields each case as a dictionary of its fields' source."""
    start = source.index("var internalTestCases")
    for block in re.findall(r"^\t\{\n(.*?)^\t\},$", source[start:], re.S | re.M):
        fields = {}
        for part in re.split(r"^(?=\t\t[a-zA-Z]+:)", block, flags=re.M):
            name, _, value = part.strip().partition(":")
            if name:
                fields[name] = value.strip().rstrip(",")
        yield fields


def string(value):
    """The value of a string, or of strings.Join over a list."""
    if value.startswith("strings.Join"):
        body, separator = value.rsplit("}", 1)
        body = re.sub(r"^\s*//.*$", "", body, flags=re.M)
        # Literals may be joined by + over several lines.
        items = re.split(r",\s*\n", body[body.index("{") + 1:].strip().rstrip(",") + ",\n")
        lines = ["".join(text(found) for found in re.findall(STRING, item)) for item in items if item.strip()]
        return text(re.search(STRING, separator).group()).join(lines)
    return "".join(text(found) for found in re.findall(STRING, value))


def mapping(value):
    return {text(name): text(content) for name, content in re.findall(rf"({STRING}):\s*({STRING})", value)}


def prepare(function, context):
    """Carries out the statements of a case that write files into its context."""
    names = {}

    def path(expression):
        expression = expression.strip()
        if expression in names:
            return names[expression]
        joined = re.fullmatch(r"filepath\.Join\((\w+)((?:,\s*" + STRING + r")+)\)", expression)
        if not joined:
            raise Unknown(expression)
        base = context if joined.group(1) == "contextDir" else names[joined.group(1)]
        return base.joinpath(*[text(found) for found in re.findall(STRING, joined.group(2))])

    def content(expression):
        expression = expression.strip()
        if expression in names:
            return names[expression]
        if not expression.startswith("[]byte("):
            raise Unknown(expression)
        return string(expression[len("[]byte("):-1]).encode()

    def mode(expression):
        value = 0
        for part in expression.split("|"):
            part = part.strip()
            special = {"syscall.S_ISUID": 0o4000, "syscall.S_ISGID": 0o2000, "syscall.S_ISVTX": 0o1000}
            value |= special[part] if part in special else int(part, 8)
        return value

    for line in function.splitlines()[1:]:
        line = re.sub(r"^(if err :?= |require\.NoError\(t, )", "", line.strip())
        line = re.sub(r"(; err != nil \{|\)?)$", lambda found: "" if found.group(1).startswith(";") else found.group(1), line)
        if found := re.fullmatch(r"(\w+) :?= (filepath\.Join\(.*\))", line):
            names[found.group(1)] = path(found.group(2))
        elif found := re.fullmatch(r"(\w+) := (\[\]byte\(.*\))", line):
            names[found.group(1)] = content(found.group(2))
        elif found := re.match(r"os\.Mkdir\((.*), (0o\d+)\)", line):
            path(found.group(1)).mkdir()
            path(found.group(1)).chmod(int(found.group(2), 8))
        elif found := re.match(r"os\.WriteFile\((.*?), ((?:\[\]byte\(.*\))|\w+), (0o\d+)\)", line):
            target = path(found.group(1))
            target.write_bytes(content(found.group(2)))
            target.chmod(int(found.group(3), 8))
        elif found := re.match(r"syscall\.Chmod\((\w+), (.*)\)", line):
            path(found.group(1)).chmod(mode(found.group(2)))
        elif line.startswith("os.Chtimes("):
            target = path(re.match(r"os\.Chtimes\((.*), testDate, testDate\)", line).group(1))
            os.utime(target, (485449200, 485449200))
        elif re.fullmatch(r"\}?|\},?|return .*|\) \(err error\) \{", line):
            continue
        else:
            raise Unknown(line)
