"""Right once, right each time: pass@k and pass^k over k."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _markup, _plot
from callgrain.panels._plot import Point, Series

LINES = (("pass_at", "at least one of k is right (pass@k)"), ("pass_hat", "all k are right (pass^k)"))


class Reliability:
    """The panel of `reliability`."""

    title = "Reliability: would it be right again?"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """How much of what is right once is right each time; the curves; the figures."""
        own = [r for r in readings if r.probe == "reliability" and r.value is not None]
        ks = sorted({float(r.by["k"]) for r in own if r.name == "pass_hat"})
        if not ks:
            return None
        return _markup.join([_said(own, ks), _curves(own, ks), _table(own, ks), _key(own)], "")


def _row(own: Sequence[Reading], name: str, **by: object) -> Reading | None:
    return next((r for r in own if r.name == name and all(r.by.get(k) == v for k, v in by.items())), None)


def _share(row: Reading | None) -> Markup:
    return _markup.text("–") if row is None else _markup.share(row)


def _said(own: Sequence[Reading], ks: Sequence[float]) -> Markup:
    last = ks[-1]
    once, every = _row(own, "pass_hat", k=ks[0]), _row(own, "pass_hat", k=last)
    same, gap = _row(own, "identical", what="verdict"), _row(own, "gap", k=last)
    parts = [
        _markup.join(
            ["A reply is right", _share(once), f"of the time, all of {last:g} replies to one prompt", _share(every)]
        ),
        ".",
    ]
    if same is not None:
        parts.append(_markup.join([" The verdict is the same each time on", _share(same), "of the samples."]))
    return _markup.said(_markup.join([*parts, " ", _gap(gap)], ""))


def _gap(gap: Reading | None) -> Markup:
    if gap is None or gap.low is None:
        return _markup.text("")
    if gap.low > 0:
        told = "beyond chance at this mean: some items are wrong again and again, and asking anew mends them little."
        return _markup.join(["That all are right is", _markup.gap(gap), "points", told])
    return _markup.join(
        ["Hard and easy items are not shown to differ:", _markup.gap(gap), "points to what chance gives."]
    )


def _curves(own: Sequence[Reading], ks: Sequence[float]) -> Markup:
    series: list[Series] = []
    for style, (name, label) in enumerate(LINES):
        rows = [(k, row) for k in ks if (row := _row(own, name, k=k)) is not None and row.value is not None]
        bars = tuple((k, row.value, row.low, row.high) for k, row in rows if row.value is not None)
        series.append(Series(label, bars, tuple((k, v) for k, v, _, _ in bars), style))
        chance: tuple[Point, ...] = tuple(
            (k, row.value)
            for k in ks
            if (row := _row(own, "chance", k=k, of=name)) is not None and row.value is not None
        )
        series.append(
            Series(
                f"{label.partition(' (')[2].rstrip(')')} of equally hard items",
                curve=chance,
                style=style,
                is_reference=True,
            )
        )
    return _plot.plot(
        series, _plot.over(ks, "replies, k", log=True), caption="How often k replies to one prompt are right."
    )


def _table(own: Sequence[Reading], ks: Sequence[float]) -> Markup:
    head = ("k", "one of k right", "all k right", "all k right, items equally hard")
    rows = [
        (
            f"{k:g}",
            *(_share(_row(own, name, k=k)) for name, _ in LINES),
            _share(_row(own, "chance", k=k, of="pass_hat")),
        )
        for k in ks
    ]
    return _markup.table(head, rows)


def _key(own: Sequence[Reading]) -> Markup:
    parts: list[str | Markup] = []
    first = _row(own, "pass_at")
    if first is not None:
        parts.append(f"{first.n} samples, each drawn anew at temperature {float(first.by.get('temperature', 0.0)):g}.")
    for what, words in (
        ("call", "The same canonical call each time on"),
        ("verdict", "Two replies share their verdict in"),
    ):
        row = _row(own, "identical" if what == "call" else "agreement", what=what)
        if row is not None:
            parts.append(_markup.join([words, _share(row), "of the samples." if what == "call" else "of the pairs."]))
    drawing = _row(own, "drawing")
    if drawing is not None:
        parts.append(_markup.join(["Against the reply of the pool:", _markup.gap(drawing), "points."]))
    return _markup.key(*parts)


plugin = Reliability
