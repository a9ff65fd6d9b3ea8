"""The finding in words: what a hurried reader should take away, with its interval.

Nothing is said that an interval does not carry: a difference whose interval holds 0 is
called "no difference shown", and a score that does not clear its best control says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.report._examples import Tally
from callgrain.report._words import inert, number, percent, points
from callgrain.report.compare import BETTER, NOT_SHOWN, WORSE, word
from callgrain.report.tables import CompareRow, SubtaskRow, weak


def finding(rows: Sequence[SubtaskRow], tallies: dict[str, Tally]) -> tuple[Markup, list[Markup]]:
    """Title and sentences of a diagnosis."""
    scored = [row for row in rows if row.score.value is not None]
    if not scored:
        return Markup("Nothing could be graded."), [Markup("See the counts of what was left out, at the end.")]
    accused = weak(scored)
    if not accused:
        low = min(scored, key=lambda row: row.score.value or 0.0)
        return Markup("No sub-task stands out as weak."), [
            Markup("The lowest score is that of {}: {} right.").format(code(low.subtask), number(percent(low.score)))
        ]
    first, others = accused[0], accused[1:]
    title = Markup("{} is the weakest grain: {} right.").format(code(first.subtask), number(percent(first.score)))
    lede = _blame(first, tallies.get(first.subtask)) + _against_control(first)
    if others:
        also = [Markup("{} {}").format(code(row.subtask), number(percent(row.score))) for row in others]
        lede.append(Markup("Weak as well: {}.").format(_list(also)))
    return title, lede


def change(pairs: Sequence[CompareRow], macro: Reading | None) -> tuple[Markup, list[Markup]]:
    """Title and sentences of a comparison; what got worse is named before what got better is praised."""
    groups = {name: [row for row in pairs if row.word == name] for name in (BETTER, WORSE, NOT_SHOWN)}
    risen, fallen = groups[BETTER], groups[WORSE]
    if risen:
        most = max(risen, key=lambda row: row.difference.value or 0.0)
        title = Markup("{} rose by {} points.").format(code(most.subtask, "up"), number(points(most.difference)))
    elif fallen:
        most = min(fallen, key=lambda row: row.difference.value or 0.0)
        title = Markup("{} fell: {} points.").format(code(most.subtask), number(points(most.difference)))
    else:
        title = Markup("No difference shown.")
    total = sum(row.difference.n for row in pairs)
    lede = [
        Markup(
            "On the same {:,} items, {} of {} sub-tasks got better, {} worse, and for {} no difference is shown."
        ).format(total, len(risen), len(pairs), len(fallen) or "none", len(groups[NOT_SHOWN]) or "none")
    ]
    if fallen:
        parts = [Markup("{} {} points").format(code(row.subtask), number(points(row.difference))) for row in fallen]
        lede.append(Markup("Worse: {}.").format(_list(parts)))
    if macro is not None:
        tail = f" ({word(macro)})" if word(macro) == NOT_SHOWN else ""
        lede.append(Markup("Mean over sub-tasks: {} points{}.").format(number(points(macro)), tail))
    return title, lede


def code(name: str, tone: str = "") -> Markup:
    """A name as the page sets names; `up` and `even` are the tones other than alarm in a title."""
    shown = inert(name)
    return Markup('<code class="{}">{}</code>').format(tone, shown) if tone else Markup("<code>{}</code>").format(shown)


def _blame(row: SubtaskRow, seen: Tally | None) -> list[Markup]:
    if seen is None or not seen.wrong:
        return []
    kind, count = seen.firsts.most_common(1)[0]
    return [
        Markup("{:,} of its {:,} answers are wrong, and {:,} of those go wrong first by {}.").format(
            seen.wrong, seen.graded, count, code(kind)
        )
    ]


def _against_control(row: SubtaskRow) -> list[Markup]:
    best, margin = row.best, row.margin
    if best is None or margin is None or margin.value is None:
        return []
    figures = number(points(margin))
    if margin.low is not None and margin.low > 0:
        return [Markup("It stands {} points over the best control, {}.").format(figures, code(best.name))]
    if margin.high is not None and margin.high < 0:
        return [Markup("It stands below the best control, {}: {} points.").format(code(best.name), figures)]
    return [Markup("It is not shown to beat the best control, {} ({} points).").format(code(best.name), figures)]


def _list(parts: Sequence[Markup]) -> Markup:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return Markup("").join(parts)
    return Markup("{} and {}").format(Markup(", ").join(parts[:-1]), parts[-1])
