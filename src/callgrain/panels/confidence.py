"""What its confidence is worth: risks, thresholds, votes."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _markup, _plot
from callgrain.panels._markup import Cell
from callgrain.panels._plot import Axis, Series

SCORES = {
    "slot": "least sure slot, margin",
    "slot_entropy": "least sure slot, entropy",
    "slot_logprob": "least sure slot, log p",
    "average": "mean log p of the call",
    "sequence": "log p of the call",
    "oracle": "best order there is",
    "random": "any order",
}
RISKS = ("slot", "average", "oracle", "random")
RULES = {
    "plurality": "plurality",
    "weighted": "weighted by confidence",
    "early": "ends when clear",
    "one": "one greedy reply",
    "drawn": "one drawn reply",
}
MISSING = {
    "scores": "This model gives no scores of its tokens (log-probabilities): nothing is said of its confidence.",
    "no_scores": "The model was asked for scores of its tokens and gave none.",
}


class Confidence:
    """The panel of `confidence`."""

    title = "Confidence: when to trust it"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The threshold and whether slots beat the average; both curves; the figures; what votes gain."""
        own = [r for r in readings if r.probe == "confidence"]
        if not own:
            return None
        parts = [_lacking(own), _said(own), _risks(own), _scores(own), _diagram(own), _votes(own)]
        return _markup.join([part for part in parts if part is not None], "")


def _row(own: Sequence[Reading], name: str, **by: object) -> Reading | None:
    return next((r for r in own if r.name == name and all(r.by.get(k) == v for k, v in by.items())), None)


def _figure(row: Reading | None) -> Cell:
    return "–" if row is None or row.value is None else _markup.figure(row)


def _share(row: Reading | None) -> Cell:
    return "–" if row is None or row.value is None else _markup.share(row)


def _lacking(own: Sequence[Reading]) -> Markup | None:
    row = _row(own, "scored")
    if row is None or (row.value is not None and row.value > 0):
        return None
    return _markup.said(MISSING.get(str(row.by.get("missing", "")), MISSING["no_scores"]))


def _said(own: Sequence[Reading]) -> Markup | None:
    parts = [part for part in (_threshold(own), _better(own), _claimed(own)) if part is not None]
    return _markup.said(*parts) if parts else None


def _threshold(own: Sequence[Reading]) -> Markup | None:
    rows = [r for r in own if r.name == "threshold" and r.by.get("score") == "slot"]
    row = max(rows, key=lambda r: (r.value is not None, float(r.by["target"])), default=None)
    if row is None:
        return None
    target = f"{float(row.by['target']) * 100:g} %"
    kept, right = (_row(own, name, score="slot", target=row.by["target"]) for name in ("kept", "kept_ok"))
    if row.value is None or kept is None or right is None or right.value is None:
        return _markup.text(f"No threshold of the least sure slot is shown to leave {target} right.")
    above = _markup.join(["above a margin of", f"{row.value:.2f}", "it is right", _markup.share(right)])
    return _markup.join(
        [
            "On turns that did not choose the threshold,",
            above,
            f"of the time (aim {target}) and",
            _markup.share(kept),
            "of them lie above: hand on the rest.",
        ]
    )


def _better(own: Sequence[Reading]) -> Markup | None:
    row = _row(own, "difference", score="slot")
    if row is None or row.value is None:
        return None
    figure = _markup.figure(row)
    if not row.by.get("shown"):
        return _markup.join(
            ["The least sure slot is not shown to rank better than the mean of the call (area", figure, "smaller)."]
        )
    if row.value > 0:
        return _markup.join(
            [
                "The least sure slot ranks right before wrong better than the mean of the call: its area is",
                figure,
                "smaller.",
            ]
        )
    return _markup.join(
        [
            "The mean of the call ranks right before wrong better than the least sure slot (area",
            figure,
            "smaller for the slot).",
        ]
    )


def _claimed(own: Sequence[Reading]) -> Markup | None:
    row = _row(own, "overconfidence", score="slot", stage="raw")
    if row is None or row.value is None or row.low is None or row.high is None or row.low <= 0 <= row.high:
        return None
    way = "too sure of itself" if row.value > 0 else "surer than it says"
    return _markup.join(["Read as a probability, the margin is", way, "by", _markup.gap(row), "points."])


def _risks(own: Sequence[Reading]) -> Markup | None:
    series: list[Series] = []
    rows = [r for r in own if r.name == "risk" and r.value is not None]
    for style, name in enumerate(RISKS):
        found = sorted((float(r.by["coverage"]), r) for r in rows if r.by.get("score") == name)
        line = tuple((share, r.value) for share, r in found if r.value is not None)
        bars = tuple((share, r.value, r.low, r.high) for share, r in found if r.value is not None and r.low is not None)
        if line:
            series.append(Series(SCORES[name], bars, line, style, is_reference=name in ("oracle", "random")))
    if not series:
        return None
    top = max([0.05, *(r.high if r.high is not None else r.value or 0.0 for r in rows)])
    end = next(e for e in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if top <= e or e == 1.0)
    y = Axis(0.0, end, tuple((end * k / 4, f"{100 * end * k / 4:g}") for k in range(5)), "% wrong")
    x = Axis(0.0, 1.0, tuple((k / 5, f"{20 * k}") for k in range(6)), "% kept, the surest first")
    drawn = _plot.plot(series, x, y, "How often what is kept is wrong, if only the surest turns are kept.")
    names = [name for name in RISKS if any(r.by.get("score") == name for r in rows)]
    shares = sorted({float(r.by["coverage"]) for r in rows})
    lines = [
        (f"{share * 100:.0f} %", *(_share(_row(own, "risk", score=name, coverage=share)) for name in names))
        for share in shares
    ]
    figures = _markup.table(("kept", *(f"wrong, {SCORES[name]}" for name in names)), lines)
    return _markup.join([drawn, _markup.fold("The same in figures", figures)], "")


def _scores(own: Sequence[Reading]) -> Markup | None:
    names = [name for name in SCORES if _row(own, "aurc", score=name)]
    if not names:
        return None
    head = (
        "score",
        "area (AURC)",
        "beyond the best",
        "right above wrong (AUROC)",
        "calibration error",
        "after calibrating",
    )
    rows = [
        (
            SCORES[name],
            *(_figure(_row(own, part, score=name)) for part in ("aurc", "excess", "auroc")),
            *(_share(_row(own, "ece", score=name, stage=stage)) for stage in ("raw", "calibrated")),
        )
        for name in names
    ]
    first = _row(own, "aurc", score="slot")
    plain, floor = (_row(own, name, score="slot", stage="raw") for name in ("ece_plain", "ece_floor"))
    told: list[Cell] = [
        f"{first.n if first else 0} turns with scores; areas are means of the share wrong, the smaller the better."
    ]
    if plain is not None and floor is not None:
        told.append(
            _markup.join(
                [
                    "Calibration error is free of the usual upward bias; in bins as they are it is",
                    _share(plain),
                    "for the slot, where a perfect score would show",
                    _share(floor),
                    "on as many turns.",
                ]
            )
        )
    return _markup.join([_markup.table(head, rows), _markup.key(*told)], "")


def _diagram(own: Sequence[Reading]) -> Markup | None:
    bins = [r for r in own if r.name == "bin" and r.by.get("score") == "slot" and r.value is not None]
    if not bins:
        return None
    series = [Series("as it should be", curve=((0.0, 0.0), (1.0, 1.0)), is_reference=True)]
    for style, (stage, label) in enumerate(
        (("raw", "as stated"), ("calibrated", "after isotonic regression, other folds"))
    ):
        rows = [r for r in bins if r.by.get("stage") == stage]
        points = tuple((float(r.by["said"]), r.value, r.low, r.high) for r in rows if r.value is not None)
        series.append(Series(label, points, style=style))
    x = Axis(0.0, 1.0, tuple((k / 4, f"{25 * k}") for k in range(5)), "% stated by the least sure slot")
    drawn = _plot.plot(series, x, caption="Stated against found, in bins of equally many turns.")
    head = ("stated", "found", "turns", "stage")
    rows = [(f"{float(r.by['said']) * 100:.1f} %", _share(r), str(r.n), str(r.by.get("stage", ""))) for r in bins]
    return _markup.fold(
        "Stated probabilities and what came of them", _markup.join([drawn, _markup.table(head, rows)], "")
    )


def _votes(own: Sequence[Reading]) -> Markup | None:
    oks = [r for r in own if r.name == "vote_ok"]
    if not oks:
        return None
    rows: list[tuple[Cell, ...]] = []
    for ok in oks:
        rule, size = str(ok.by.get("rule", "")), ok.by.get("voters", 1)
        gain = _row(own, "vote", rule=rule, voters=size)
        spent = _row(own, "spent", rule=rule)
        used: Cell = _figure(spent) if spent is not None else f"{size}"
        equal = _row(own, "vote_equal", rule=rule)
        rows.append((RULES.get(rule, rule), used, _share(ok), *(_gain(row) for row in (gain, equal))))
    head = ("vote", "replies", "right", "over one greedy reply, points", "over a plurality of as many, points")
    best = _row(own, "vote", rule="plurality", voters=max(int(r.by.get("voters", 1)) for r in oks))
    parts = [_markup.heading("Votes on canonical calls"), _markup.table(head, rows)]
    if best is not None and best.value is not None:
        word = (
            "gains"
            if best.by.get("shown") and best.value > 0
            else "loses"
            if best.by.get("shown")
            else "is not shown to gain:"
        )
        parts.insert(
            1,
            _markup.said(
                _markup.join(
                    [
                        f"A vote of {best.by.get('voters')} replies",
                        word,
                        _markup.gap(best),
                        "points over one greedy reply.",
                    ]
                )
            ),
        )
    parts.append(
        _markup.key(f"{oks[0].n} samples. Calls are compared with defaults filled in and keys sorted, in any order.")
    )
    return _markup.join(parts, "")


def _gain(row: Reading | None) -> Cell:
    if row is None or row.value is None:
        return "–"
    return _markup.gap(row) if row.by.get("shown") else _markup.join([_markup.gap(row), "not shown"])


plugin = Confidence
