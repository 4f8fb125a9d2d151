"""What scenarios say of a place, as assertions."""

from . import kills, processes


def fails(place, tier, *texts, code=1, limit=600, but="", **how):
    """The run fails, says all of the texts, and leaves nothing half-done, `but` a file that is hidden; gives what it said."""
    found, said = place.run(tier, limit=limit, **how)
    assert found == code, f"it ended with {found} instead of {code}:\n{said}"
    for text in texts:
        assert text in said, f"it doesn't say {text!r}:\n{said}"
    nothing_half_done(place, but=but)
    return said


def nothing_half_done(place, gone=5, but=""):
    left = processes.all_gone(gone)
    assert not left, f"left alive: {left}"
    wrong = [text for text in place.differences(complete=False) if not but or but not in text]
    wrong += [f"lock held: {path}" for path in place.held_locks()]
    assert not wrong, "\n".join(wrong)


def finishes(place, tier):
    """The next run succeeds, and leaves what an undisturbed one leaves."""
    wrong = kills.finish(place, tier, kills.FIXED)
    assert not wrong, "\n".join(wrong)
