"""Wrong past calls and the next turn, horizons, mitigations."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from callgrain.core.types import Reading
from callgrain.panels import _charts, _plot
from callgrain.panels import _markup as mark
from callgrain.panels._words import chance

_ENVIRONMENTS = {
    "consistent": "The environment goes along: the wrong call gives what it gives",
    "healed": "The environment heals: whatever was called gives the right result",
}
_FAULTS = {
    "wrong_tool": "the wrong function was called",
    "wrong_value": "a wrong value was given",
    "wrong_shape": "the call could not be read",
    "needless_call": "a call where none was due",
}
_MITIGATIONS = {
    "prune": "wrong turns are left out",
    "mark": "their results say that the call was wrong",
    "summarise": "a summary stands in the history's place",
    "window": "only the last turn is kept",
    "re_derive": "the true state is said anew before the request",
}
_KEY = (
    "Every request is asked behind histories of the same number of earlier turns, of which a share is wrong; the same "
    "requests stand at every share. A slope is the change of the share right from a history that is right throughout "
    "to one that is wrong throughout; p is corrected for all slopes (or mitigations) together."
)
_APART = 0.012
"""How far points of two kinds at the same share are drawn apart."""


class Contamination:
    """Accuracy against wrong past turns, slopes, what length does, the model's own chains, mitigations."""

    title = "Contamination: wrong past calls"

    def draw(self, readings: Sequence[Reading]) -> Markup | None:
        """The panel; None where nothing was asked behind a history."""
        mine = [r for r in readings if r.probe == "contamination"]
        if not any(r.name in ("ok", "survival", "length") for r in mine):
            return None
        parts = [mark.said(*_finding(mine))]
        parts += [_rates(mine, environment) for environment in _ENVIRONMENTS]
        parts += [_slopes(mine), _lengths(mine), _chains(mine), _mended(mine)]
        return mark.join([part for part in parts if part])


def _named(mine: Sequence[Reading], name: str) -> list[Reading]:
    return [r for r in mine if r.name == name and r.value is not None]


def _finding(mine: Sequence[Reading]) -> list[mark.Cell]:
    said: list[mark.Cell] = []
    slopes = _named(mine, "slope")
    worst = min(slopes, key=lambda r: r.value or 0.0, default=None)
    if worst is not None and worst.by.get("shown") and (worst.value or 0) < 0:
        said += ["Wrong past calls pull the next turn down: behind a history of nothing but"]
        said += [mark.code(str(worst.by["fault"])), f"({worst.by['environment']} environment) it changes by"]
        said += [mark.gap(worst), "points."]
    elif worst is not None:
        said += ["That wrong past calls change the next turn is not shown; the steepest slope is", mark.gap(worst)]
        said += ["points, for", mark.code(str(worst.by["fault"])), f"({worst.by['environment']} environment)."]
    if (floor := _floor(mine)) is not None:
        said += ["But a right history alone leaves", mark.share(floor), "right: there is hardly anything left to fall."]
    decay = next((r for r in _named(mine, "decay")), None)
    if decay is not None and decay.low is not None and decay.high is not None:
        shown = decay.low > 0 or decay.high < 0
        said += [f"{decay.by['turns']} right turns before a request change it by", mark.gap(decay)]
        said.append("points." if shown else "points: no difference shown.")
    half = next((r for r in mine if r.name == "H50"), None)
    if half is not None and half.value is not None:
        ends = "–".join("beyond" if end is None else f"{end:.0f}" for end in (half.low, half.high))
        said.append(
            f"Left to itself, the chance that everything so far is right is down to 50 % at turn {half.value:.0f}"
        )
        said.append(f"({ends}).")
    elif half is not None:
        said.append("Left to itself, the chance that everything so far is right does not fall to 50 % within")
        said.append(f"{half.by.get('beyond', '?')} turns.")
    return said


def _floor(mine: Sequence[Reading]) -> Reading | None:
    """The control with a right history, where it is so low that no wrong turn can show."""
    rights = [r for r in _named(mine, "length") if r.by.get("turns") != 0]
    return rights[0] if rights and (rights[0].value or 0.0) <= 0.1 else None


def _rates(mine: Sequence[Reading], environment: str) -> Markup | None:
    rows = [r for r in _named(mine, "ok") if r.by.get("environment") == environment]
    faults = list(dict.fromkeys(str(r.by["fault"]) for r in rows))
    if not faults:
        return None
    series: list[_plot.Series] = []
    for style, fault in enumerate(faults):
        bars: list[_plot.Bar] = []
        for row in sorted((r for r in rows if r.by["fault"] == fault), key=_rate):
            bars.append((_rate(row) + _APART * style, row.value or 0.0, row.low, row.high))
        series.append(_plot.Series(fault, tuple(bars), tuple(bar[:2] for bar in bars), style))
    shares = sorted({_rate(r) for r in rows})
    ticks = tuple((s, f"{s * 100:.0f}") for s in shares)
    axis = _plot.Axis(0.0, 1.0 + _APART * len(faults), ticks, "% of earlier turns wrong")
    head: list[mark.Cell] = ["earlier turns", *(f"{s * 100:.0f} % wrong" for s in shares), "requests"]
    table = [_shares(fault, [r for r in rows if r.by["fault"] == fault], shares) for fault in faults]
    return mark.join([mark.heading(_ENVIRONMENTS[environment]), _plot.plot(series, axis), mark.table(head, table)])


def _rate(row: Reading) -> float:
    return float(row.by["rate"])


def _shares(fault: str, rows: Sequence[Reading], shares: Sequence[float]) -> list[mark.Cell]:
    at = {_rate(r): r for r in rows}
    cells = [mark.share(at[s]) if s in at else mark.text("–") for s in shares]
    return [_fault(fault), *cells, str(max(r.n for r in rows))]


def _fault(fault: str) -> Markup:
    return mark.join([mark.code(fault), _FAULTS.get(fault, "")])


def _tone(row: Reading) -> str:
    if not row.by.get("shown"):
        return "no-difference-shown"
    return "worse" if (row.value or 0.0) < 0 else "better"


def _word(row: Reading) -> str:
    return "shown" if row.by.get("shown") else "not shown"


def _p(row: Reading) -> str:
    return chance(row.by.get("p"))


def _slopes(mine: Sequence[Reading]) -> Markup | None:
    found = _named(mine, "slope")
    if not found:
        return None
    low, high, steps = _charts.span_of(found)
    head = ("earlier turns", "environment", _charts.axis(low, high, steps, "points"), "slope", "p", "requests", "")
    rows: list[list[mark.Cell]] = []
    for r in found:
        strip = _charts.difference(r, low, high, _tone(r))
        name = _fault(str(r.by["fault"]))
        rows.append([name, str(r.by["environment"]), strip, mark.gap(r), _p(r), str(r.n), _word(r)])
    return mark.join([mark.heading("Slopes"), mark.key(_KEY), mark.table(head, rows, picture=2)])


def _lengths(mine: Sequence[Reading]) -> Markup | None:
    found = _named(mine, "length")
    if len(found) < 2:
        return None
    changes = {r.by["turns"]: r for r in _named(mine, "decay")}
    rows: list[list[mark.Cell]] = []
    for r in found:
        change = changes.get(r.by["turns"])
        rows.append([f"{r.by['turns']} turns", _charts.strip(r), mark.share(r), _or_dash(change), str(r.n)])
    head = ("right turns before the request", _charts.axis(), "share right", "against none, points", "requests")
    return mark.join([mark.heading("Length alone"), mark.table(head, rows, picture=1)])


def _or_dash(row: Reading | None) -> mark.Cell:
    return mark.text("–") if row is None else mark.gap(row)


def _chains(mine: Sequence[Reading]) -> Markup | None:
    curve = sorted(_named(mine, "survival"), key=_turn)
    if not curve:
        return None
    bars = tuple((float(_turn(r)), r.value or 0.0, r.low, r.high) for r in curve)
    steps: list[_plot.Point] = [(0.0, 1.0)]
    for turn, value, *_ in bars:
        steps += [(turn, steps[-1][1]), (turn, value)]
    formula = sorted((r for r in _named(mine, "formula") if "turn" in r.by), key=_turn)
    line = ((0.0, 1.0), *((float(_turn(r)), r.value or 0.0) for r in formula))
    series = [
        _plot.Series("everything right so far", bars, tuple(steps)),
        _plot.Series("were every turn like a turn alone (no estimate)", curve=line, style=1, is_reference=True),
    ]
    turns = [float(n) for n in range(_turn(curve[-1]) + 1)]
    plot = _plot.plot(series, _plot.over(turns, "turn"), caption="Whiskers are 95 % intervals.")
    parts: list[Markup] = [mark.heading("The model's own turns as history"), plot, _turns(mine, curve)]
    drift = next(iter(_named(mine, "drift")), None)
    if drift is not None:
        word = "points a turn." if drift.by.get("shown") else "points a turn: no drift shown."
        parts.append(
            mark.small("Against the same request alone, each further turn changes it by", mark.gap(drift), word)
        )
    return mark.join(parts)


def _turn(row: Reading) -> int:
    return int(row.by["turn"])


def _turns(mine: Sequence[Reading], curve: Sequence[Reading]) -> Markup:
    steps = {(r.by["arm"], _turn(r)): r for r in _named(mine, "step") if "turn" in r.by}
    rows: list[list[mark.Cell]] = []
    for r in curve:
        own, alone = steps.get(("own", _turn(r))), steps.get(("alone", _turn(r)))
        told = [mark.share(one) if one else mark.text("–") for one in (own, alone)]
        rows.append([f"turn {_turn(r)}", mark.share(r), *told, str(r.n)])
    head = ("", "all right so far", "this turn, whatever came before", "the same request alone", "chains at risk")
    return mark.table(head, rows)


def _mended(mine: Sequence[Reading]) -> Markup | None:
    found = _named(mine, "mitigation")
    if not found:
        return None
    low, high, steps = _charts.span_of(found)
    rows: list[list[mark.Cell]] = []
    left = {(r.by["fault"], r.by["mitigation"]): r for r in _named(mine, "restored")}
    for r in found:
        name = str(r.by["mitigation"])
        rest = _or_dash(left.get((r.by["fault"], r.by["mitigation"])))
        what = mark.join([mark.code(name), _MITIGATIONS.get(name, "")])
        strip = _charts.difference(r, low, high, _tone(r))
        rows.append([what, mark.code(str(r.by["fault"])), strip, mark.gap(r), _p(r), _word(r), rest])
    head = (
        "mitigation",
        "earlier turns",
        _charts.axis(low, high, steps, "points"),
        "gain",
        "p",
        "",
        "against right turns",
    )
    note = (
        "The gain is over the same history, wrong throughout, as it is. What is above 0 against a history of right "
        "turns is no mending: a shorter history is easier by itself."
    )
    return mark.join([mark.heading("Mitigations"), mark.table(head, rows, picture=2), mark.small(note)])


plugin = Contamination
