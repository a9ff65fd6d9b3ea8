"""Remedies that leave the weights alone: how the model is asked, what it is shown, what its replies go through.

Each rule reads what a probe found and answers with a remedy or with the reason why there is none. A remedy needs a
gain whose lower limit lies above what is worth the trouble; where the best of several settings is chosen, its interval
is first widened for all of them (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import floor

from callgrain.core.stats import interval_text
from callgrain.core.types import Reading
from callgrain.corpus._gain import Findings, Gain, Passed, Remedy, gain_of, interval, points, shown

Rule = Callable[[Findings], Remedy | Passed]
COMPLETE = 0.9
"""Share of requests whose whole gold set a retriever must find before a k is called enough."""


def constrain(found: Findings) -> Remedy | Passed:
    """Hold replies to the grammar, or read them leniently; broken form is the bound where no gain was measured."""
    broken = [r for r in found.all("form", "broken") if "subtask" in r.by]
    if not broken:
        return Passed("constrain", _silent(found, "form", "nothing had a form"))
    right = [r for r in found.all("form", "right_but_for_form") if "subtask" in r.by]
    looks = [
        found.rung("syntax", "ladder: the oracle of syntax alone"),
        (found.over_subtasks(right, "form: replies that are right but for their form"), (*right,)),
        (found.over_subtasks(broken, "form: every reply that is broken in form", is_bound=True), (*broken,)),
    ]
    for gain, rows in looks:
        if gain is not None and _worth(gain, found):
            return _constrained(found, gain, rows)
    gain, rows = next((gain, rows) for gain, rows in looks if rows)
    return Passed("constrain", f"broken form is not shown to cost anything: {gain}", rows)


def _constrained(found: Findings, gain: Gain, rows: Sequence[Reading]) -> Remedy:
    total = [r for r in found.all("form", "broken") if not r.by]
    size = interval_text(*interval(total[0])) + f" of {total[0].n} replies" if total else "replies"
    reason = f"{size} are broken in form"
    cut = [r for r in found.all("fault", "truncated") if not r.by and (r.low or 0.0) > found.worth]
    reason += f"; {shown(cut[0])} are cut off: allow longer replies first (--max-tokens)" if cut else ""
    because = (*total, *cut, *rows)
    if found.can_constrain:
        how = f"callgrain diagnose --model {found.model} --source {found.source} --constrain"
        return Remedy("constrain", {"constrain": True}, reason, how, because, gain)
    how = "structured output (a JSON schema or a grammar) in your client, or a reader that undoes near-misses"
    return Remedy("constrain", {"structured_output": True}, reason, how, because, gain, is_ours=False)


def schemas(found: Findings) -> Remedy | Passed:
    """Show tools in brief."""
    gain, rows = found.rung("schema", "ladder: compact schemas alone")
    if not rows:
        return Passed("schemas", _silent(found, "ladder", "the ladder had no rung of schemas"))
    if gain is None or not _worth(gain, found):
        return Passed("schemas", f"compact schemas are not shown to help: {gain or 'no interval'}", rows)
    how = "show each tool as name, one line and parameters, without prose and examples in the schema"
    return Remedy("schemas", {"schemas": "compact"}, "it reads short schemas better", how, rows, gain, is_ours=False)


def retrieval(found: Findings) -> Remedy | Passed:
    """How many tools to show: what a retriever needs, and what the model can carry."""
    if not found.ran("ladder") and not found.ran("density"):
        return Passed("retrieval", _silent(found, "density", ""))
    limit, carried, rows = _limit(found, "tools")
    missed, others = found.rung("retrieval", "ladder: the gold tools instead of those retrieved", is_bound=True)
    if carried is not None and _worth(carried, found):
        gain, reason = carried, "many tools in sight cost it"
    elif missed is not None and _worth(missed, found):
        gain, rows, reason = missed, others, "what a retriever misses in a large catalogue costs it"
    else:
        tried = carried or missed or "no break was found"
        return Passed("retrieval", f"neither many tools nor missing ones are shown to hurt: {tried}", (*rows, *others))
    k, why, evidence = _enough(found, limit)
    best = _best(found, limit)
    if best is not None and (best.high or 1.0) < COMPLETE:  # few tools help only where the right ones are among them
        if _is_worse(found, best):
            return Passed(
                "retrieval", f"what retrievers find would cost more than fewer tools gain: {_finds(best)}", (best,)
            )
        gain, why, evidence = replace(gain, is_bound=True), f"{why}, but {_finds(best)}", (*evidence, best)
    lost = found.all("retrieval", "loss")
    cost = f"; retrieved tools instead of gold ones: {points(lost[-1])}" if lost else ""
    how = f"retrieve {k} tools for each request, and show no others (retrievers: callgrain ls retrievers)"
    return Remedy("retrieval", {"k": k}, f"{reason}; {why}{cost}", how, (*rows, *evidence, *lost), gain, is_ours=False)


def _best(found: Findings, limit: int | None) -> Reading | None:
    """What finds the whole gold set most often in the largest catalogue, among no more tools than the model carries.

    Where that is fewer than any k that was tried, the fewest that were. None where no retriever was tried.
    """
    rows = [r for r in found.all("retrieval", "complete") if r.by.get("retriever") != "random" and r.value is not None]
    largest = max((r.by["size"] for r in rows if isinstance(r.by.get("size"), int)), default=None)
    rows = [r for r in rows if r.by.get("size") == largest]
    most = max(limit or max((int(r.by["k"]) for r in rows), default=0), min((int(r.by["k"]) for r in rows), default=0))
    return max((r for r in rows if int(r.by["k"]) <= most), key=lambda r: r.value or 0.0, default=None)


def _finds(row: Reading) -> str:
    return f"{row.by['retriever']} finds every tool that is due among {row.by['k']} for {shown(row)} only"


def _is_worse(found: Findings, best: Reading) -> bool:
    """Whether few tools, as far as they are found, are surely right less often than all of them."""
    rows = [r for r in found.all("density", "ok", axis="tools") if isinstance(r.by.get("load"), int | float)]
    if len(rows) < 2:
        return False
    few, many = (pick(rows, key=lambda r: float(r.by["load"])) for pick in (min, max))
    return (best.high or 1.0) * (few.high or 1.0) < (many.low or 0.0)


def _enough(found: Findings, limit: int | None) -> tuple[int, str, tuple[Reading, ...]]:
    """(k, why, readings): the fewest tools that hold the whole gold set, and never more than the model can carry."""
    rows = [r for r in found.all("retrieval", "complete") if r.by.get("retriever") != "random" and r.value is not None]
    largest = max((r.by["size"] for r in rows if isinstance(r.by.get("size"), int)), default=None)
    rows = sorted((r for r in rows if r.by.get("size") == largest), key=lambda r: int(r.by["k"]))
    enough = next((r for r in rows if r.low is not None and r.low >= COMPLETE), None)
    if enough is None and rows:
        enough = max(rows, key=lambda r: r.value or 0.0)
    if enough is not None and (limit is None or int(enough.by["k"]) <= limit):
        k = int(enough.by["k"])
        return k, f"{enough.by['retriever']} finds every tool that is due among {k} for {shown(enough)}", (enough,)
    if limit is not None:
        marks = found.all("density", "D90", axis="tools")
        carried = f"up to {limit} tools it stays at 90 % right"
        return limit, carried if marks[0].value is not None else f"{limit} tools are the fewest that were tried", ()
    return 5, "no reading says how many: 5 hold the gold set of most requests", ()


def _limit(found: Findings, axis: str) -> tuple[int | None, Gain | None, tuple[Reading, ...]]:
    """(most load, gain of staying under it at the heaviest load, readings) from the probe of density.

    The most is where success falls below 90 %, by its lower limit; the lightest load where it is below from the start.
    """
    marks = found.all("density", "D90", axis=axis)
    rows = [r for r in found.all("density", "ok", axis=axis) if isinstance(r.by.get("load"), int | float)]
    rows.sort(key=lambda r: float(r.by["load"]))
    if not marks or len(rows) < 2 or "beyond" in marks[0].by:
        return None, None, (*marks, *rows)
    mark, first, last = marks[0], rows[0], rows[-1]
    least = mark.low if mark.low is not None else mark.value if mark.value is not None else 0.0
    most = max(floor(float(first.by["load"])), floor(min(least, float(last.by["load"]))))
    here = [r for r in rows if float(r.by["load"]) <= most][-1]
    origin = f"density: {here.by['load']} {axis} against {last.by['load']}"
    of = f"requests with {last.by['load']} {axis}"
    drop = found.all("density", "drop", axis=axis)
    if here is first and drop:  # paired by request, where the two loads are those that were paired
        return most, gain_of([(-1, interval(drop[0]))], origin, of), (mark, drop[0])
    return most, gain_of([(1, interval(here)), (-1, interval(last))], origin, of), (mark, here, last)


def fewer(axis: str) -> Rule:
    """The rule that asks for less at once along an axis of density."""
    kind = f"fewer_{axis}"

    def rule(found: Findings) -> Remedy | Passed:
        most, gain, rows = _limit(found, axis)
        if not found.ran("density"):
            return Passed(kind, _silent(found, "density", ""))
        if most is None or gain is None or not _worth(gain, found):
            return Passed(kind, f"more {axis} at once are not shown to hurt: {gain or 'no break was found'}", rows)
        reason = f"it stays at 90 % right up to {_load(rows[0])} {axis} at once"
        if rows[0].value is None:
            reason = f"it is right less than 90 % of the time with {most} {axis} already, and with more it falls"
        how = f"ask for at most {most} {axis} in one turn, and go on in the next"
        return Remedy(kind, {f"most_{axis}": most}, reason, how, rows, gain, is_ours=False)

    return rule


def _load(row: Reading) -> str:
    return interval_text(*interval(row), percent=False)


def history(found: Findings) -> Remedy | Passed:
    """What to do with wrong past calls: the mitigation with the best mean gain over faults."""
    rows = [r for r in found.all("contamination", "mitigation") if r.value is not None]
    if not rows:
        return Passed("history", _silent(found, "contamination", "no wrong history could be made"))
    names = sorted({str(r.by["mitigation"]) for r in rows})
    gains: dict[str, Gain] = {}
    for name in names:
        own = [r for r in rows if r.by["mitigation"] == name]
        origin = f"contamination: {name}, paired, mean over {len(own)} kinds of fault"
        gain = gain_of([(1.0, _mean(own))], origin, "requests behind a history of wrong calls", looks=len(names))
        if gain:
            gains[name] = gain
    best = max(gains, key=lambda name: gains[name].low, default="")
    if not best or not _worth(gains[best], found):
        said = f"; the best, {best}: {gains[best]}" if best else ""
        return Passed("history", f"no mitigation is shown to help{said}", (*rows,))
    why = tuple(r for r in rows if r.by["mitigation"] == best)
    beyond = [r for r in found.all("contamination", "restored", mitigation=best) if r.low is not None and r.low > 0]
    reason = f"wrong calls in its history mislead it, and to {best} helps: {'; '.join(_of_fault(r) for r in why)}"
    if beyond:  # it does better than behind right turns: what is mended is the length
        why = (*why, *beyond)
        reason = f"a long history costs it, right or wrong, and to {best} shortens it: " + "; ".join(
            f"{_of_fault(r)} against as many right turns" for r in beyond
        )
    how = f"{best.replace('_', ' ')} wrong turns before the history goes to the model"
    return Remedy("history", {"history": best}, reason, how, why, gains[best], is_ours=False)


def _mean(rows: Sequence[Reading]) -> tuple[float | None, float | None, float | None]:
    """The mean of figures of the same requests, whose limits do not close in on it: they go up and down together."""
    known = [(r.value, r.low, r.high) for r in rows if r.value is not None and r.low is not None and r.high is not None]
    if not known:
        return None, None, None
    value, low, high = (sum(part) / len(known) for part in zip(*known, strict=True))
    return value, low, high


def _of_fault(row: Reading) -> str:
    return f"{row.by.get('fault', 'any fault')} {points(row)}"


def escalation(found: Findings) -> Remedy | Passed:
    """Hand over what the model is unsure of, by a threshold that was verified on requests it was not chosen on."""
    if not found.ran("confidence"):
        return Passed("escalation", _silent(found, "confidence", ""))
    marks = [r for r in found.all("confidence", "threshold") if r.value is not None and "target" in r.by]
    for mark in sorted(marks, key=lambda r: -float(r.by["target"])):
        score, target = str(mark.by.get("score")), float(mark.by["target"])
        right = found.all("confidence", "kept_ok", score=score, target=target)
        kept = found.all("confidence", "kept", score=score, target=target)
        risks = sorted(found.all("confidence", "risk", score=score), key=lambda r: float(r.by["coverage"]))
        if not right or not kept or not risks or kept[0].value is None:
            continue
        origin = f"confidence: replies whose {score} is at least {mark.value:.4g}, against all"
        terms = [(1.0, interval(right[0])), (1.0, interval(risks[-1])), (1.0, (-1.0, -1.0, -1.0))]
        gain = gain_of(terms, origin, "requests that it keeps", looks=len(marks))
        if _worth(gain, found):
            reason = (
                f"{score} tells right from wrong: it keeps {shown(kept[0])}, and of those {shown(right[0])} are right"
            )
            how = f"send a request on to a stronger model where {score} is below {mark.value:.4g}"
            setting = {"score": score, "threshold": round(mark.value or 0.0, 6), "target": target}
            return Remedy("escalation", setting, reason, how, (mark, kept[0], right[0], risks[-1]), gain, is_ours=False)
    return Passed("escalation", "no threshold is shown to leave a better share right", (*marks,))


def voting(found: Findings) -> Remedy | Passed:
    """Several replies and the majority's call; the probe has corrected for all sizes and rules that it looked at."""
    rows = [r for r in found.all("confidence", "vote") if r.value is not None and r.low is not None]
    if not rows:
        return Passed("voting", _silent(found, "confidence", "no votes were taken"))
    best = max(rows, key=lambda r: (r.by.get("shown", True), r.low or 0.0))
    voters, rule = best.by.get("voters", "several"), best.by.get("rule", "majority")
    origin = f"confidence: {voters} voters ({rule}) against one greedy reply"
    gain = gain_of([(1, interval(best))], origin, "all requests", looks=1 if "shown" in best.by else len(rows))
    if not _worth(gain, found) or not best.by.get("shown", True):
        return Passed("voting", f"votes are not shown to help: {gain} with {voters} voters", (best,))
    reason = f"a vote of {voters} replies is right more often than one, at {voters} times the cost"
    how = f"draw {voters} replies and take the call that the vote ({rule}) chooses"
    return Remedy("voting", {"voters": voters, "rule": rule}, reason, how, (best,), gain, is_ours=False)


def repeats(found: Findings) -> Remedy | Passed:
    """Ask again where something can tell that a reply is wrong."""
    rows = [r for r in found.all("reliability", "pass_at") if r.value is not None]
    rows.sort(key=lambda r: float(r.by.get("k", 0)))
    if len(rows) < 2:
        return Passed("repeats", _silent(found, "reliability", "no replies were drawn again"))
    one, most = rows[0], rows[-1]
    origin = f"reliability: any of {most.by['k']} right, against {one.by['k']}"
    terms = [(1.0, interval(most)), (-1.0, interval(one))]
    gain = gain_of(terms, origin, "requests with a check that tells right from wrong", is_bound=True)
    if not _worth(gain, found):
        return Passed("repeats", f"asking again is not shown to help: {gain or 'no interval'}", (one, most))
    reason = f"what it gets wrong once it often gets right another time: {shown(one)}, then {shown(most)}"
    how = f"where a check refuses a reply, ask again up to {most.by['k']} times at a temperature above 0"
    return Remedy("repeats", {"repeats": most.by["k"]}, reason, how, (one, most), gain, is_ours=False)


def _worth(gain: Gain | None, found: Findings) -> bool:
    return gain is not None and gain.low > found.worth


def _silent(found: Findings, probe: str, otherwise: str) -> str:
    """Why a rule has nothing to read."""
    if found.ran(probe) and otherwise:
        return otherwise
    return f"the probe {probe} has not run: callgrain diagnose --probe {probe}"


RULES: Sequence[Rule] = (
    constrain, schemas, retrieval, fewer("arguments"), fewer("calls"), history, escalation, voting, repeats,
)  # fmt: skip
