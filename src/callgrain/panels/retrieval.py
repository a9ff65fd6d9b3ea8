"""Which tools are found in ever larger catalogues, and what misses cost."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _charts, _plot
from callgrain.panels import _markup as mark

CHANCE = "random"
K = 5
"""The k that is drawn; the table has the others too."""
_METRICS = {"complete": "whole gold set (COMP)", "recall": "gold tools (recall)", "ndcg": "nDCG"}
_LOST = {
    "loss": "gold tools, minus found tools",
    "confused": "the same, where the whole gold set was found",
    "change": "found tools, minus the tools as shown",
}
_HOW = (
    "A ranking of the whole catalogue gives the mean over all smaller ones that hold the gold tools, exactly; its word "
    "statistics stay those of the whole. Tools alike in name and description count once.",
    "From end to end the prompt holds as many tools either way: what was found, filled up with random others; or the "
    "gold tools among random others.",
)


class Retrieval:
    """Curves over the size of the catalogue; success with found tools against success with gold tools."""

    title = "Retrieval"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The panel; None where no retriever ran."""
        mine = [r for r in readings if r.probe == "retrieval"]
        curves = [r for r in mine if r.name in _METRICS]
        losses = [r for r in mine if r.name in _LOST and r.value is not None]
        if not curves and not losses:
            return None
        parts = [_finding(curves, losses, next((r for r in mine if _is_gold(r)), None))]
        if curves:
            parts += [*_drawn(curves), _table(curves)]
        parts += _absent(mine)
        if losses:
            parts.append(_end_to_end(mine, losses))
        return mark.join([*parts, mark.small(*_HOW)])


def _is_gold(row: Reading) -> bool:
    return row.name == "ok" and row.by.get("arm") == "gold"


def _finding(curves: Sequence[Reading], losses: Sequence[Reading], gold: Reading | None) -> Markup:
    said: list[Markup] = []
    largest = _at_largest([r for r in curves if r.name == "complete" and r.by["k"] == K])
    skilled = [r for r in largest if r.by["retriever"] != CHANCE]
    if skilled:
        best = next((r for r in skilled if r.by["retriever"] == "bm25"), skilled[0])  # the one that the model is given
        chance = next((r for r in largest if r.by["retriever"] == CHANCE), None)
        text = Markup("Among {} tools, {} has all that a request needs in its first {} for {} of requests{}.")
        beside = f" (by chance {100 * (chance.value or 0.0):.1f} %)" if chance else ""
        said.append(
            text.format(best.by["size"], mark.code(str(best.by["retriever"]), "even"), K, mark.share(best), beside)
        )
    worst = _at_largest([r for r in losses if r.name == "loss"])
    if worst:
        row = worst[0]
        text = Markup("No loss is shown from taking the tools that {} found instead of the gold tools: {} points.")
        if row.by.get("shown") and (row.value or 0.0) > 0:
            text = Markup("Gold tools instead of those that {} found would be worth {} points to the model.")
        if gold is not None and gold.value == 0:
            text = Markup(
                "With the gold tools the model gets nothing right either, so that {} can lose nothing: {} points."
            )
        said.append(text.format(mark.code(str(row.by["retriever"]), "even"), mark.gap(row)))
    return mark.said(*said)


def _at_largest(rows: Sequence[Reading]) -> list[Reading]:
    """The rows of the largest catalogue."""
    most = max((float(r.by["size"]) for r in rows), default=0.0)
    return [r for r in rows if r.by["size"] == most]


def _names(curves: Sequence[Reading]) -> list[str]:
    """Retrievers in the order of their readings, chance last."""
    found = dict.fromkeys(str(r.by["retriever"]) for r in curves)
    return sorted(found, key=lambda name: name == CHANCE)


def _drawn(curves: Sequence[Reading]) -> list[Markup]:
    across = _plot.over([float(r.by["size"]) for r in curves], "tools in the catalogue", log=True)
    out: list[Markup] = []
    for metric in ("complete", "recall"):
        series = [
            _plot.Series(
                name="by chance" if name == CHANCE else name,
                points=()
                if name == CHANCE
                else tuple((float(r.by["size"]), r.value or 0.0, r.low, r.high) for r in rows),
                curve=tuple((float(r.by["size"]), r.value or 0.0) for r in rows),
                style=style,
                is_reference=name == CHANCE,
            )
            for style, name in enumerate(_names(curves))
            if (rows := [r for r in curves if r.name == metric and r.by["retriever"] == name and r.by["k"] == K])
        ]
        up = _plot.Axis(0.0, 1.0, _plot.SHARES.ticks, "%")
        caption = f"{_METRICS[metric]} among the first {K}, with 95 % intervals"
        out.append(_plot.plot(series, across, up, caption))
    return out


def _table(curves: Sequence[Reading]) -> Markup:
    """Every metric at every size; the other k one click away."""
    shown = [_sizes(curves, metric, K) for metric in _METRICS]
    ks = sorted({int(r.by["k"]) for r in curves} - {K})
    more = [
        Markup("").join([mark.heading(f"among the first {k}"), *(_sizes(curves, metric, k) for metric in _METRICS)])
        for k in ks
    ]
    folded = mark.fold(f"Among the first {', '.join(map(str, ks))}", mark.join(more)) if ks else Markup("")
    return mark.join([*shown, folded])


def _sizes(curves: Sequence[Reading], metric: str, k: int) -> Markup:
    sizes = sorted({int(r.by["size"]) for r in curves})
    table = {(str(r.by["retriever"]), r.by["size"]): r for r in curves if r.name == metric and r.by["k"] == k}
    rows = [
        (mark.code(name), *(mark.share(found) if (found := table.get((name, size))) else "–" for size in sizes))
        for name in _names(curves)
    ]
    return mark.table((f"{_METRICS[metric]}, first {k}", *(f"{size:,} tools" for size in sizes)), rows)


def _absent(mine: Sequence[Reading]) -> list[Markup]:
    names = [str(r.by["retriever"]) for r in mine if r.name == "ran" and r.value is None]
    if not names:
        return []
    said = Markup("Did not run: {}. It needs the extra {}, or the catalogue is too large to encode here.")
    return [mark.small(said.format(mark.join(map(mark.code, names), ", "), mark.code("dense")))]


def _end_to_end(mine: Sequence[Reading], losses: Sequence[Reading]) -> Markup:
    low, high, steps = _charts.span_of(losses)
    rows = [
        (
            _LOST[row.name],
            f"{row.by['size']:,}",
            _charts.difference(row, low, high, "plain"),
            mark.gap(row),
            str(row.n),
        )
        for name in _LOST
        for row in losses
        if row.name == name
    ]
    head = ("from end to end, points", "tools", _charts.axis(low, high, steps, ""), "difference", "requests")
    oks = [(_arm(r), mark.share(r), str(r.n)) for r in mine if r.name == "ok" and r.value is not None]
    told = {"whole": "whole gold set found", "unseen": "right where it was not, without having seen the tool"}
    whole = [
        (f"{told[r.name]}, {r.by['size']:,} tools", mark.share(r), str(r.n))
        for name in told
        for r in mine
        if r.name == name and r.value is not None
    ]
    parts = [mark.table(head, rows, picture=2)]
    parts.append(mark.table(("of the requests", "share", "requests"), [*oks, *whole]))
    return mark.join(parts)


def _arm(row: Reading) -> str:
    arm = str(row.by["arm"])
    told = {"gold": "right with the gold tools", "shown": "right with the tools as shown"}
    return told.get(arm, f"right with found tools, {row.by.get('size', 0):,} tools")


plugin = Retrieval
