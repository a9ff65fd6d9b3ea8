"""Two published rewards, restated from their papers with their known holes left in.

They are here to be compared with, not to train on. Both were written for a raw text with tags;
what their tags decide is decided here by whether the reply could be read and whether it holds
calls, and the thoughts that both ask for are not asked for. Everything else is as published.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from callgrain.core.types import Call, Reply, Sample
from callgrain.verify.lint import too_deep


def toolrl_like(sample: Sample, reply: Reply) -> float:
    """ToolRL (arXiv 2504.13958): R_format in {0, 1} plus R_correct in [-3, 3].

    R_correct = 6 * match / most - 3, where match is the Jaccard likeness of the names' multisets,
    plus for each gold call the Jaccard likeness of its keys and the number of equal values, and
    most = 1 + gold calls + gold keys. Holes, as in the released code: the format asked for follows
    from what the gold holds; where the gold holds no call R_correct is 0 whatever was done; gold
    calls take the best call of their own name in gold order, greedily; extra calls cost only some
    of the names' likeness and extra keys some of the keys'; values are compared without types
    (True equals 1).
    """
    read = _calls(reply)
    given, gold = read or (), sample.answer.calls
    form = float(read is not None and bool(given) == bool(gold))
    if not gold:
        return form
    if not given:
        return form - 3.0
    most = 1 + len(gold) + sum(len(call.arguments) for call in gold)
    return form + 6.0 * _match(gold, given) / most - 3.0


def _calls(reply: Reply) -> Sequence[Call] | None:
    """The calls of a reply; None where it cannot be read, or is nested too deeply to be compared."""
    calls = reply.message.calls if reply.message else None
    return None if calls is None or any(map(too_deep, calls)) else calls


def _match(gold: Sequence[Call], given: Sequence[Call]) -> float:
    total = _jaccard([c.name for c in gold], [c.name for c in given])
    left = list(given)
    for want in gold:
        rivals = [have for have in left if have.name == want.name]
        if not rivals:
            continue
        best = max(rivals, key=lambda have, want=want: _likeness(want, have))  # the first of equals
        total += _likeness(want, best)
        left.remove(best)
    return total


def _likeness(want: Call, have: Call) -> float:
    equal = sum(name in have.arguments and have.arguments[name] == value for name, value in want.arguments.items())
    return _jaccard(list(want.arguments), list(have.arguments)) + equal


def _jaccard(a: Sequence[str], b: Sequence[str]) -> float:
    """Likeness of two multisets: 1 where they are equal, both empty included."""
    if not a and not b:
        return 1.0
    both = (Counter(a) & Counter(b)).total()
    return both / (len(a) + len(b) - both)


def tool_n1_like(sample: Sample, reply: Reply) -> float:
    """Tool-N1 (arXiv 2505.00024), the scorer for Qwen: 1 or 0 by exact equality.

    The multisets of (name, arguments as JSON with sorted keys) must be equal. Holes, as in the
    released code: a reply without a call tag gets 0 even where the gold is no call (the way to say
    so is an explicit empty list, here the text `[]`); asking, declining and answering are one and
    the same; 1 and 1.0 differ, as do all other spellings of one value.
    """
    given = _calls(reply)
    return 0.0 if not given and reply.text.strip() != "[]" else _exact(sample, given)


def tool_n1_plain_like(sample: Sample, reply: Reply) -> float:
    """The same by the scorer for Llama: a reply without calls is right wherever the gold holds none.

    So abstaining is paid differently by the family of model; whether it asks, declines or answers
    is still not looked at.
    """
    return _exact(sample, _calls(reply))


def _exact(sample: Sample, given: Sequence[Call] | None) -> float:
    if given is None:
        return 0.0
    try:
        return float(Counter(map(_spelled, sample.answer.calls)) == Counter(map(_spelled, given)))
    except ValueError:  # an integer too long to be spelt
        return 0.0


def _spelled(call: Call) -> tuple[str, str]:
    return call.name, json.dumps(call.arguments, sort_keys=True)
