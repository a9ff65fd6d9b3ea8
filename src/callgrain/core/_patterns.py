"""How large a pattern unrolls, before it is compiled: linear, and without recursion."""

from __future__ import annotations

CAP = 10**12
"""States are not counted beyond this."""


def states(pattern: str) -> int:
    """About how many states a pattern unrolls into: counted repetitions multiply what they repeat."""
    groups, last, at = [0], 0, 0
    while at < len(pattern):
        letter = pattern[at]
        end = at + 1
        if letter == "\\":
            end = at + 2
        elif letter == "[":
            end = _class_end(pattern, at)
        if letter == "(":
            groups.append(0)
            last = 0
        elif letter == ")" and len(groups) > 1:
            last = groups.pop() + 1
            groups[-1] = min(CAP, groups[-1] + last)
        elif letter == "{" and (times := _times(pattern, at)) is not None:
            count, end = times
            groups[-1] = min(CAP, groups[-1] + last * max(0, count - 1))
            last = min(CAP, last * max(1, count))
        elif letter not in "*+?|":
            last = 1
            groups[-1] += 1
        at = end
    return sum(groups) + 1


def _class_end(pattern: str, at: int) -> int:
    """Where a character class ends that begins at `at`."""
    end = at + 2
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return end + 1


def _times(pattern: str, at: int) -> tuple[int, int] | None:
    """The largest count of a repetition `{m,n}` that begins at `at`, and where it ends."""
    end = pattern.find("}", at, at + 24)
    low, _, high = pattern[at + 1 : end].partition(",")
    counts = [int(part) for part in (low.strip(), high.strip()) if part.isascii() and part.isdecimal()]
    return (max(counts), end + 1) if end > 0 and counts else None
