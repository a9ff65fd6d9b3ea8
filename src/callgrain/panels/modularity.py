"""Which skill breaks without another's weights, beside the controls."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _charts, _markup
from callgrain.panels._markup import Cell

ARMS = {
    "trained": "as trained",
    "random_init": "never trained, masks searched alike",
    "random_mask": "trained, as many weights at random",
}
"""Every arm of the probe, in words."""
FIGURES = (
    ("own", "right without its own mask's weights"),
    ("other", "right without another skill's"),
    ("alone", "right under its own mask alone"),
    ("kept", "share of weights in a mask"),
)
MOTION = (
    ("entanglement", "entanglement: 1 where a push moves every skill alike"),
    ("coherent", "changed replies that are calls still"),
    ("fracture", "fracture: important weights not shared between contexts"),
    ("fracture_within", "the same between halves of one context"),
    ("transfer", "edit transfer: effect in the other context over that in its own"),
)


class Modularity:
    """The panel of `modularity`."""

    title = "Modularity: skills and their weights"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """Whether skills are in weights of their own beyond both controls; the matrices; what moves together."""
        own = [r for r in readings if r.probe == "modularity"]
        skipped = next((r for r in own if r.name == "skipped"), None)
        if skipped is not None:
            return _markup.said(Markup("Nothing was searched: {}.").format(_markup.text(skipped.by.get("reason", ""))))
        if not any(r.name == "contrast" for r in own):
            return None
        parts = [_found(own), _contrasts(own), _matrices(own), _figures(own), _moved(own)]
        return _markup.join(parts, "")


def _pick(readings: Sequence[Reading], name: str, **by: object) -> Reading | None:
    return next((r for r in readings if r.name == name and all(r.by.get(k) == v for k, v in by.items())), None)


def _found(own: Sequence[Reading]) -> Markup:
    """The finding: modularity is claimed where it clears both controls, and nowhere else."""
    trained, shown = _pick(own, "contrast", arm="trained"), _pick(own, "shown")
    sentences: list[Cell] = []
    if trained is not None:
        sentences.append(
            Markup(
                "Without a skill's own mask other skills are right {} points more often than the skill itself."
            ).format(_markup.gap(trained))
        )
    margins = [(str(r.by.get("control", "")), r) for r in own if r.name == "margin"]
    against = _markup.join(
        [Markup("{} points against {}").format(_markup.gap(row), _markup.code(name)) for name, row in margins], ", "
    )
    if shown is not None and shown.value:
        sentences.append(Markup("That clears both controls, in every seed: {}.").format(against))
        sentences.append("Each sub-skill rests in part on weights that the others need less.")
    else:
        sentences.append(Markup("Modularity is not shown: it does not clear both controls ({}).").format(against))
    alone = _pick(own, "alone", arm="random_init")
    if alone is not None:
        sentences.append(
            Markup(
                "A mask in a network that was never trained does the skill at {}: finding one proves nothing."
            ).format(_markup.share(alone))
        )
    return _markup.said(*sentences)


def _contrasts(own: Sequence[Reading]) -> Markup:
    rows = [(arm, _pick(own, "contrast", arm=arm), _pick(own, "contrast_nats", arm=arm)) for arm in ARMS]
    there = [(arm, right, nats) for arm, right, nats in rows if right is not None]
    low, high, steps = _charts.span_of([right for _, right, _ in there])
    body: list[list[Cell]] = []
    for arm, right, nats in there:
        seeds = [r.value for r in own if r.name == "seed" and r.by.get("arm") == arm and r.value is not None]
        spread = f"{min(seeds) * 100:+.1f} to {max(seeds) * 100:+.1f}".replace("-", "−") if seeds else "–"
        body.append(
            [
                Markup("{} {}").format(_markup.code(arm, "even"), ARMS[arm]),
                _charts.difference(right, low, high, "good" if arm == "trained" and (right.low or 0) > 0 else "plain"),
                _markup.gap(right),
                spread,
                _markup.figure(nats) if nats is not None else "–",
            ]
        )
    head = ("arm", _charts.axis(low, high, steps, "points"), "contrast", "seeds", "contrast in nats")
    note = _markup.key(
        "Contrast: share right without another skill's mask, minus that without the skill's own.",
        "Intervals speak of held-out samples; how far seeds lie apart stands beside them.",
        "In nats: loss added to the skill itself, minus that added to others.",
    )
    return _markup.join([_markup.table(head, body, picture=1), note], "")


def _matrices(own: Sequence[Reading]) -> Markup:
    parts: list[Markup] = []
    for arm, words in ARMS.items():
        cells = [r for r in own if r.name == "ablation" and r.by.get("arm") == arm]
        masks = list(dict.fromkeys(str(r.by.get("mask", "")) for r in cells))
        if not masks:
            continue
        whole = [_pick(own, "whole", arm=arm if arm != "random_mask" else "trained", subtask=skill) for skill in masks]
        rows: list[tuple[Cell, Sequence[Reading | None]]] = [("nothing", whole)]
        rows += [(_markup.code(m), [_pick(cells, "ablation", mask=m, subtask=s) for s in masks]) for m in masks]
        grid = _markup.heat([_markup.code(skill) for skill in masks], rows, corner="taken away ╲ asked")
        parts.append(_markup.join([_markup.heading(Markup("{}: {}").format(_markup.code(arm), words)), grid], ""))
    note = _markup.key("Percent of decision tokens right on held-out samples, the tokens before them given.")
    return _markup.join([*parts, note], "")


def _figures(own: Sequence[Reading]) -> Markup:
    return _by_arm(own, FIGURES, "masks")


def _moved(own: Sequence[Reading]) -> Markup:
    table = _by_arm(own, MOTION, "pushed at matched output KL")
    return _markup.fold("What moves together when weights are pushed", table) if table else Markup("")


def _by_arm(own: Sequence[Reading], figures: Sequence[tuple[str, str]], corner: str) -> Markup:
    """A table of figures by arm; a figure at several levels has a row for each."""
    arms = [arm for arm in ARMS if any(r.by.get("arm") == arm and r.name in dict(figures) for r in own)]
    rows: list[list[Cell]] = []
    for name, words in figures:
        levels = list(dict.fromkeys(r.by.get("level") for r in own if r.name == name))
        for level in levels:
            by = {} if level is None else {"level": level}
            found = [_pick(own, name, arm=arm, **by) for arm in arms]
            cells = [_shown(name, row) if row is not None else "–" for row in found]
            rows.append([words if level is None else f"{words}, at {level} nats", *cells])
    return _markup.table((corner, *(_markup.code(arm) for arm in arms)), rows) if rows else Markup("")


def _shown(name: str, row: Reading) -> Markup:
    if name == "kept":
        low, high = (f"{100 * (v or 0):.2f}" for v in (row.low, row.high))
        return _markup.text(f"{100 * (row.value or 0):.2f} % ({low} to {high})")
    return _markup.figure(row) if name in ("entanglement", "transfer") else _markup.share(row)


plugin = Modularity
