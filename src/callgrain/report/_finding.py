"""The finding in words: what a hurried reader should take away, with its interval.

Nothing is said that an interval does not carry: a difference whose interval holds 0 is
called "no difference shown", and a score that does not clear its best control says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels._markup import code
from callgrain.panels._words import number, percent, points
from callgrain.report._examples import Tally
from callgrain.report._grader import Grid, Totals
from callgrain.report.compare import BETTER, NOT_SHOWN, WORSE, word
from callgrain.report.tables import CompareRow, FormRow, SubtaskRow, weak

SIZEABLE = 0.05
"""Share of all replies, lost by form alone, that the finding speaks of: the interval must clear it."""
_LISTED = 6
_REMEDIES = {
    "truncated": Markup(", and more tokens a reply (<code>--max-tokens</code>),"),
    "other_spelling": Markup(", or asking in the spelling that it knows (<code>--dialect</code>),"),
}
"""What mends a near-miss beside constrained decoding, where it is not training."""


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


def by_probes(said: Sequence[str]) -> tuple[Markup, list[Markup]]:
    """Title and sentences of a run that has no scores, but whose probes found something."""
    return Markup("What the probes found."), [Markup("{}").format(sentence) for sentence in said[:2]]


def form_cost(rows: Sequence[FormRow], misses: Sequence[tuple[str, Reading]], known: Mapping[str, str]) -> list[Markup]:
    """A sentence on replies lost by form alone, and what mends it, where over all they are many.

    `known` are the near-misses that have a name; of others nothing can be trained against.
    """
    right = next((row.right for row in rows if not row.subtask), None)
    if right is None or right.low is None or right.low <= SIZEABLE:
        return []
    met = next((name for name, _ in misses if name in known), "")
    trained = Markup(", or training negatives of its commonest near-miss, {},").format(code(met)) if met else ""
    other = _REMEDIES.get(met, trained)
    return [
        Markup(
            "Form alone costs {} of all replies: they would be right if they could be read. As often with small "
            "models, it is not the skill that fails there; constrained decoding{} mends it."
        ).format(number(percent(right)), other)
    ]


def graded_by(totals: Sequence[Totals], scorer: str) -> list[Markup]:
    """What the grader of the scores is worth, or else each other one whose card there is."""
    own = [total for total in totals if total.grader == scorer]
    if own:
        return [_worth(Markup("The grader of these scores, {},").format(code(scorer)), own[0])]
    text = Markup("{}, which is not the grader of these scores ({} is),")
    return [_worth(text.format(code(total.grader), code(scorer)), total) for total in totals]


def without_scores(totals: Sequence[Totals], grids: Sequence[Grid]) -> tuple[Markup, list[Markup]]:
    """Title and sentences of a run that has no scores of its own: a card, or files side by side."""
    flagged = [(total.flagged, total) for total in totals if total.flagged and total.flagged.value is not None]
    if flagged:
        least, worst = min(flagged, key=lambda pair: pair[0].value or 0.0)
        several, one = Markup("{} flags least of what is wrong: {}."), Markup("{} flags {} of what is wrong.")
        title = (several if len(flagged) > 1 else one).format(code(worst.grader), number(percent(least)))
        return title, [_worth(code(total.grader), total) for total in totals]
    lines = [row for grid in grids[:1] for row in grid.rows if row.cells[0]]
    if not lines:
        return Markup("Nothing could be graded."), [Markup("See the counts of what was left out, at the end.")]
    parts = [
        Markup("{} {}").format(code(row.name), number(percent(row.cells[0]))) for row in lines[:_LISTED] if row.cells[0]
    ]
    more = len(lines) - len(parts)
    parts += [Markup("{} more").format(more)] if more else []
    lede = [Markup("Right by {}: {}.").format(code(grids[0].columns[0]), _list(parts))]
    return Markup("Recorded outputs, side by side."), lede


def _worth(subject: Markup, total: Totals) -> Markup:
    """What a grader does with replies made on purpose."""
    does: list[Markup] = []
    if total.flagged:
        text = Markup("flags {} of {:,} wrong replies made on purpose")
        does.append(text.format(number(percent(total.flagged)), total.flagged.n))
    if total.refused:
        text = Markup("refuses {} of {:,} right ones spelt otherwise")
        does.append(text.format(number(percent(total.refused)), total.refused.n))
    if not does:
        does = [Markup("can judge none of the replies made on purpose")]
    return Markup("{} {}.").format(subject, Markup(" and ").join(does))


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
