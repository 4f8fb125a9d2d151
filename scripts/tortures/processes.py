"""The processes of a run, as /proc shows them, and those that a run has left.

This process asks to be given whatever its descendants leave behind (PR_SET_CHILD_SUBREAPER), so that nothing
that a run has started gets out of sight: it is a descendant for as long as it lives.
"""

import ctypes
import os
import signal
import time

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
LIBC = ctypes.CDLL(None, use_errno=True)


def adopt_orphans():
    if LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "can't become the subreaper")


def own_mounts():
    """What is mounted from now on is seen by this process and its descendants alone, and goes with them."""
    if LIBC.unshare(CLONE_NEWNS) or LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "can't have mounts of its own")


def mounts():
    with open("/proc/self/mountinfo") as file:
        return sorted(line.split(" - ")[0].split(maxsplit=1)[1] for line in file)


def _read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def state(pid):
    """The letter of a process's state, and its parent; nothing of one that is gone."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return (fields[0].decode(), int(fields[1])) if len(fields) > 1 else ("", 0)


def command(pid):
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def descendants(root):
    """All processes below one that live, each with its depth, nearest first."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            letter, parent = state(name)
            if letter not in ("", "Z", "X"):
                children.setdefault(parent, []).append(int(name))
    found, queue = [], [(root, 0)]
    while queue:
        pid, depth = queue.pop(0)
        for child in children.get(pid, []):
            found.append((child, depth + 1))
            queue.append((child, depth + 1))
    return found


def roles(parent):
    """What the processes below `mkpanda` are: role -> pids."""
    found = {"parent": [parent], "helper": [], "inner": [], "init": [], "build": [], "git": []}
    kinds = {parent: "parent"}
    for pid, _ in descendants(parent):
        above = kinds.get(state(pid)[1])
        words = command(pid)
        if above == "parent":
            kind = "helper" if "internal-helper" in words else "git"
        else:
            kind = {"helper": "inner", "inner": "init", "init": "build", "build": "build", "git": "git"}.get(above)
        if kind:
            kinds[pid] = kind
            found[kind].append(pid)
    return found


def picture(root):
    """The processes below one with state, seconds of CPU, what they wait for, and command: to tell one that hangs
    from one that the machine gives no time."""
    lines = []
    for pid, depth in [(root, 0), *descendants(root)]:
        fields = _read(pid, "stat").rpartition(b")")[2].split()
        if len(fields) > 12:
            seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            waits = _read(pid, "wchan").decode()
            lines.append(f"{'  ' * depth}{pid} {fields[0].decode()} {seconds:.2f} s {waits} {command(pid)[:100]}")
    pressure = _read("pressure", "cpu").decode().splitlines()
    return "\n".join([*lines, *(f"CPU pressure: {line}" for line in pressure)])


def send(pid, number):
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def reap():
    """Waits for orphans that have ended; a run's own process is not touched."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return


def all_gone(limit):
    """What still lives below this process after so many seconds."""
    until = time.monotonic() + limit
    while True:
        reap()
        left = descendants(os.getpid())
        if not left or time.monotonic() > until:
            return [(pid, state(pid)[0], command(pid)) for pid, _ in left]
        time.sleep(0.005)


def end_all():
    """Ends what is left, so that one failure isn't the cause of the next."""
    for pid, _ in descendants(os.getpid()):
        send(pid, signal.SIGCONT)
        send(pid, signal.SIGKILL)
    all_gone(5)
