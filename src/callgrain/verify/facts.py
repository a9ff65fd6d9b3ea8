"""Written replies: is every fact there, and is nothing said that nothing shows?

What counts as a claim is what a user would act on: numbers, dates, times, identifiers and names.
ROUGE-L (Lin 2004) and chrF (Popovic 2015) stand beside as the field's figures; they measure
likeness to one wording, not truth.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import orjson

from callgrain.core.types import Answer, Json, Message, Prompt, Reply, Verdict
from callgrain.verify.faults import fault
from callgrain.verify.values import text as nfc
from callgrain.verify.verdict import unanswered, verdict

TEXT_LIMIT = 20_000
"""Characters of a reply that are read; a longer one is judged by its beginning."""

_TOKEN = re.compile(r"\d+(?:[.,:/\-]\d+)*|[^\W\d_]+(?:['’_\-][^\W\d_]+|\d+)*")
_CAPITALS = frozenset(["I", "I'm", "I've", "I'll", "I'd", "I’m", "I’ve", "I’ll", "I’d", "AM", "PM", "OK"])
"""Words written with a capital that name nobody."""
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
}


def tokens(value: str) -> list[str]:
    """Words and numbers of a text, case folded; `1,234.50` is `1234.5` and `seven` is `7`."""
    return [_plain(t) for t in _TOKEN.findall(nfc(value[:TEXT_LIMIT]))]


def _plain(token: str) -> str:
    if token[0].isdigit():
        number = token.replace(",", "")
        if number.count(".") == 1 and number.replace(".", "").isdigit():
            number = number.rstrip("0").rstrip(".")
        return number
    folded = token.casefold()
    return _NUMBER_WORDS.get(folded, folded)


def judge_text(answer: Answer, prompt: Prompt, reply: Reply) -> Verdict:
    """Coverage of the facts and grounding of the claims; a call instead of a reply is a decision fault."""
    if (out := unanswered(reply)) is not None or reply.message is None:
        return out or Verdict(state="grader_error")
    if reply.message.calls:
        return verdict([fault("needless_call", "calls.0", "answer", "call")], 0.0)
    said = reply.message.text
    heard = tokens(said)
    left_out = [fact for fact in answer.facts if not states(heard, fact)]
    made_up = ungrounded(said, [answer.text, *answer.facts, *shown(prompt)])
    faults = [fault("unfaithful_response", "text", None, claim) for claim in made_up]
    faults += [fault("incomplete_response", "text", fact) for fact in left_out]
    claims = len(_claims(said)) or 1
    coverage = 1 - len(left_out) / len(answer.facts) if answer.facts else 1.0
    grounding = 1 - len(made_up) / max(claims, len(made_up))
    figures = {"coverage": coverage, "grounding": grounding}
    if answer.text:
        figures |= {"rouge_l": rouge_l(tokens(answer.text), heard), "chrf": chrf(answer.text, said)}
    return verdict(faults, (coverage + grounding) / 2, **figures)


def states(heard: Sequence[str], fact: str) -> bool:
    """Whether a reply's tokens hold the fact's tokens, in a row."""
    want = tokens(fact)
    width = len(want)
    return width == 0 or any(list(heard[i : i + width]) == want for i in range(len(heard) - width + 1))


def shown(prompt: Prompt) -> list[str]:
    """Everything that the prompt shows, as texts: turns, calls, results."""
    return [spelled(message) for message in prompt.messages]


def spelled(message: Message) -> str:
    """A turn's text with its calls and results written out."""
    parts = [message.text]
    parts += [_json(c.arguments) for c in message.calls]
    parts += [_json(r.value) if r.error is None else r.error for r in message.results]
    return "\n".join(parts)


def _json(value: Json) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers beyond 64 bits
        return str(value)


def ungrounded(said: str, grounds: Sequence[str]) -> list[str]:
    """Claims in `said` that no text of `grounds` shows: each once, in order."""
    known = {t for ground in grounds for t in tokens(ground)}
    known |= {part for t in known if t[0].isdigit() for part in re.split(r"[.:/\-]", t)}
    known |= {t.lstrip("0") for t in known}
    missing = (c for c in _claims(said) if c not in known and c.lstrip("0") not in known and not _clock(c, known))
    return list(dict.fromkeys(missing))


def _claims(said: str) -> list[str]:
    """Numbers, identifiers with digits, and capitalised words inside a sentence."""
    out: list[str] = []
    cut = nfc(said[:TEXT_LIMIT])
    for found in _TOKEN.finditer(cut):
        word = found[0]
        named = word[0].isupper() and word not in _CAPITALS and not _opens_sentence(cut, found.start())
        if named or any(ch.isdigit() for ch in word):
            out.append(_plain(word))
    return out


def _opens_sentence(said: str, start: int) -> bool:
    before = said[max(0, start - 40) : start].rstrip(" \"'“‘(*-\t")
    return not before or before[-1] in ".!?:\n;"


def _clock(claim: str, known: set[str]) -> bool:
    """Whether a clock time is shown in the other of the 12 and 24 hour spellings."""
    hour, _, minute = claim.partition(":")
    if not hour.isdecimal() or len(hour) > 2 or (minute and not minute.isdecimal()):
        return False
    others = [(int(hour) + 12) % 24, int(hour) % 12 or 12]
    return any(f"{h}:{minute or '00'}" in known or f"{h:02d}:{minute or '00'}" in known for h in others)


def rouge_l(want: Sequence[str], have: Sequence[str]) -> float:
    """F1 of the longest common subsequence of two token lists (at most 400 tokens of each)."""
    a, b = list(want[:400]), list(have[:400])
    if not a or not b:
        return 0.0
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    return 2 * row[-1] / (len(a) + len(b))


def chrf(want: str, have: str, order: int = 6, beta: float = 2.0) -> float:
    """Character n-gram F-score (chrF2), white space left out, as in the first publication."""
    a, b = "".join(want[:2000].split()), "".join(have[:2000].split())
    precisions: list[float] = []
    recalls: list[float] = []
    for n in range(1, order + 1):
        x = Counter(a[i : i + n] for i in range(len(a) - n + 1))
        y = Counter(b[i : i + n] for i in range(len(b) - n + 1))
        if x and y:
            both = (x & y).total()
            precisions.append(both / y.total())
            recalls.append(both / x.total())
    if not precisions or not any(precisions):
        return 0.0
    p, r = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return (1 + beta**2) * p * r / (beta**2 * p + r)
