"""One run as one HTML file: no network, no script, nothing beside it.

Everything that comes from tools, data or models passes through the template's `finalize`
into `inert`, and through autoescape; a content security policy forbids whatever is left.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from callgrain.core import plugins
from callgrain.core.errors import BadInput
from callgrain.core.protocols import Panel
from callgrain.core.store import Run, write_atomic
from callgrain.core.types import Reading
from callgrain.dialects._recover import NEAR_MISSES
from callgrain.panels import _charts, _markup, _words
from callgrain.report import _finding, _grader, tables
from callgrain.report._examples import PROBES, examples, tally
from callgrain.report.compare import compare, word
from callgrain.verify.faults import TABLE

PANELS = (
    "prescription", "capacity", "ladder", "density", "contamination", "shift", "metamorphic", "depth", "instructions",
    "confidence", "reliability", "diversity", "retrieval", "modularity", "cost",
)  # fmt: skip
"""Reading order of the built-in panels: what to do, what it can carry, where it breaks, how far to trust it, why."""
KEYLESS = frozenset({"metamorphic"})
"""Probes that read no key: a wrong verdict on what they asked says nothing."""
_OPEN_PANELS = 3
"""Weakest sub-tasks whose slices and measures stand open; the others are one click away."""


def write_page(
    run: Run, out: Path | None = None, before: Run | None = None, extra: dict[str, Any] | None = None
) -> Path:
    """The page of `run` at `out` (default `report.html` in its folder), beside `before` where given.

    `extra` adds sections: `notes` (texts), `training` (names and values), `prescription`
    (objects of `subtask`, `share`, `reason`), `loss` (pairs of step and loss); any other key
    becomes a plain section under its name. Raises BadInput for a damaged run folder, or
    where nothing of the two runs pairs.
    """
    path = out or run.folder / "report.html"
    readings = tables.read_readings(run)
    compared = compare(before, run) if before is not None else []
    probed = _probed(run, readings, path.parent == run.folder)
    page = (
        _environment()
        .from_string(_asset("page.html.j2"))
        .render(
            css=Markup(_asset("page.css")),  # noqa: S704 - our own file
            **_diagnosis(run, readings, compared, probed["drawn"]),
            **_graders(readings),
            **probed,
            **_comparison(compared, before),
            **_about(run),
            **_extras(extra or {}),
        )
    )
    write_atomic(path, [page.encode()])
    return path


def _probed(run: Run, readings: Sequence[Reading], beside: bool) -> dict[str, Any]:
    """A section for each panel with something to show, its worst examples, and the files in which its rows lie."""
    sections = drawn([*readings, *_seconds(run)])
    tallies = tally(run, PROBES)
    return {
        "drawn": sections,
        "findings": [(name, title, said[0]) for name, title, body in sections if (said := _markup.sayings(body))],
        "asked_by": tallies,
        "keyless": KEYLESS,
        "worst": examples(run, [name for name, _, _ in sections], tallies, PROBES),
        "rows_at": ("readings.jsonl", "samples.jsonl", "replies.jsonl", "probe_verdicts.jsonl") if beside else (),
    }


def _seconds(run: Run) -> list[Reading]:
    """How long the model took for each probe: of this run, and so no reading on disk."""
    spent = _mapping(_object(run, "done").get("seconds")) if run.is_done else {}
    return [Reading(probe="cost", name="seconds", value=float(v), by={"of": k}) for k, v in spent.items()]


def drawn(readings: Sequence[Reading]) -> list[tuple[str, str, Markup]]:
    """(id, title, section) of every panel that has something to show, in the order of `PANELS`, strangers last."""
    found: list[tuple[str, str, Markup]] = []
    for name in sorted(plugins.names("panels"), key=lambda n: (PANELS.index(n) if n in PANELS else len(PANELS), n)):
        panel: Panel = plugins.load("panels", name)()
        body = panel.draw(readings)
        if body is not None:
            found.append((name, panel.title, body))
    return found


def _environment() -> Environment:
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_show)
    shared = cast(dict[str, Any], made.globals)  # pyright: ignore[reportUnknownMemberType] - jinja2 leaves it bare
    shared |= {name: getattr(_words, name) for name in ("number", "percent", "points", "amount", "plural")}
    shared |= {"charts": _charts, "word": word, "code": _markup.code, "named": _named}
    shared["captions"] = {kind: row.caption for kind, row in TABLE.items()}
    shared |= {"near_captions": NEAR_MISSES, "amiss": _grader.is_amiss}
    return made


def _show(value: Any) -> Any:
    """The last gate before the page: text is made inert, our own markup passes."""
    return _words.inert(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _asset(name: str) -> str:
    return files("callgrain.report").joinpath(name).read_text(encoding="utf-8")


Sections = Sequence[tuple[str, str, Markup]]


def _diagnosis(
    run: Run, readings: Sequence[Reading], compared: Sequence[Reading], sections: Sections
) -> dict[str, Any]:
    """What the run alone has to say."""
    rows = tables.subtask_table(readings)
    tallies = tally(run)
    form, misses = tables.form_table(readings), tables.near_misses(readings)
    title, lede = _finding.finding(rows, tallies)
    if not any(row.score.value is not None for row in rows):
        title, lede = _finding.without_scores(_grader.card_totals(readings), _grader.grade_grids(readings))
        said = [saying for _, _, body in sections for saying in _markup.sayings(body)[:1]]
        title, lede = _finding.by_probes(said) if said else (title, lede)
    lede = [*lede, *_finding.form_cost(form, misses, NEAR_MISSES)]
    changed = None
    if compared:
        macro = next((r for r in compared if r.name == "macro_difference"), None)
        changed = (title, lede)
        title, lede = _finding.change(tables.comparison_table(compared), macro)
    weak = [row.subtask for row in tables.weak(rows)] or [row.subtask for row in rows[:1]]
    order = [row.subtask for row in rows]
    faults = tables.fault_table(readings)
    seen = [row for row in faults if row.rate.value]
    return {
        "title": title,
        "plain_title": title.striptags(),
        "lede": lede,
        "now": changed,
        "rows": rows,
        "weak": {row.subtask for row in tables.weak(rows)},
        "faults": seen,
        "levels": [(level, [r for r in seen if r.level == level]) for level in dict.fromkeys(r.level for r in seen)],
        "unseen": [row for row in faults if not row.rate.value],
        "scale": _charts.scale_of([row.rate for row in seen]),
        "form": form,
        "form_scale": _charts.scale_of([row.broken for row in form]),
        "misses": misses,
        "panels": _by_subtask(tables.slice_table(readings), order),
        "measures": _by_subtask(tables.measure_table(readings), order),
        "open_panels": set(order[:_OPEN_PANELS]),
        "examples": examples(run, weak, tallies),
        "tallies": tallies,
        "counts": tables.count_table(readings),
        "items": sum(row.score.n for row in rows),
    }


def _graders(readings: Sequence[Reading]) -> dict[str, Any]:
    """What is known of the graders: the card of each, and what several say of the same replies."""
    totals = _grader.card_totals(readings)
    card = _grader.card_grids(readings)
    rows = [row for grid in card for row in (*grid.rows, *([grid.total] if grid.total else []))]
    return {
        "worth": _finding.graded_by(totals, _grader.scored_by(readings)),
        "totals": totals,
        "card": card,
        "card_open": any(_grader.is_amiss(cell) for row in rows for cell in row.cells if cell),
        "side_by_side": _grader.grade_grids(readings),
        "agreement": _grader.agreement(readings),
    }


def _named(rows: Iterable[Reading]) -> list[tuple[str, Reading]]:
    return [(row.name, row) for row in rows]


def _by_subtask(panels: Iterable[tables.Panel], order: Sequence[str]) -> list[tuple[str, list[tables.Panel]]]:
    """Panels grouped by sub-task, in the order of the scores."""
    groups: dict[str, list[tables.Panel]] = {subtask: [] for subtask in order}
    for panel in panels:
        groups.setdefault(panel.subtask, []).append(panel)
    return [(subtask, found) for subtask, found in groups.items() if found]


def _comparison(compared: Sequence[Reading], before: Run | None) -> dict[str, Any]:
    if before is None:
        return {"pairs": [], "macro": None, "fault_changes": [], "pairing": {}, "limits": (0.0, 1.0, 1), "before": {}}
    pairs = tables.comparison_table(compared)
    macro = next((r for r in compared if r.name == "macro_difference"), None)
    changes = [r for r in compared if r.name == "fault_difference"]
    return {
        "pairs": pairs,
        "macro": macro,
        "fault_changes": changes,
        "pairing": {r.name: r.n for r in compared if not r.by},
        "limits": _charts.span_of([p.difference for p in pairs] + ([macro] if macro else [])),
        "fault_limits": _charts.span_of(changes),
        "before": _about(before)["about"],
    }


def _about(run: Run) -> dict[str, Any]:
    """Where the numbers come from, and the command that makes them again."""
    recipe, inputs = _object(run, "recipe"), _object(run, "inputs")
    done = _object(run, "done") if run.is_done else {}
    known = _mapping(inputs.get("machine"))
    find = {**done, **inputs, **recipe}
    about = {
        "model": find.get("model"),
        "source": find.get("source"),
        "seed": find.get("seed"),
        "finished": str(done.get("finished", "")).replace("T", " ").replace("Z", " UTC") or None,
        "machine": ", ".join(
            str(known[k]) + (" cores" if k == "cores" else "") for k in ("platform", "cores") if k in known
        ),
        "versions": ", ".join(f"{k} {v}" for k, v in known.items() if k not in ("platform", "cores")),
        "run": f"{run.folder.parent.name}/{run.folder.name}",
    }
    other = {k: v for k, v in inputs.items() if k != "machine" and k not in about}
    return {
        "about": {k: v for k, v in about.items() if v is not None and v != ""},
        "command": str(find["command"]) if "command" in find else _command(run.folder.parent.name, recipe),
        "inputs": {k: _plain(v) for k, v in other.items()},
    }


def _object(run: Run, name: str) -> dict[str, Any]:
    found = run.read(name)
    if not isinstance(found, dict):
        raise BadInput(f"{run.folder / name}.json holds no object", "run the same command again")
    return _mapping(found)


def _mapping(value: Any) -> dict[str, Any]:
    """A JSON object with its keys as text; anything else is none."""
    return {str(k): v for k, v in cast(Mapping[Any, Any], value).items()} if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    """The items of a JSON array; anything else is one item."""
    return list(cast(Sequence[Any], value)) if isinstance(value, list | tuple) else [value]


def _command(verb: str, recipe: Mapping[str, Any]) -> str:
    """The command line that a recipe stands for: every setting a flag."""
    parts = ["callgrain", verb]
    for key, value in recipe.items():
        if value in (None, "", [], {}):
            continue
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            parts += [flag] if value else []
        else:
            parts += [flag, shlex.quote(",".join(map(str, _items(value))))]
    return " ".join(parts)


def _extras(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Sections that a verb adds, each brought to a shape that the template knows."""
    known = ("notes", "prescription", "loss")
    other = [(key, _entries(value)) for key, value in extra.items() if key not in known]
    return {
        "notes": [str(note) for note in extra.get("notes", ())],
        "prescription": [_mapping(row) for row in extra.get("prescription", ())],
        "loss": [(float(step), float(value)) for step, value in extra.get("loss", ())],
        "sections": other,
    }


def _entries(value: Any) -> list[tuple[str, str]]:
    """Names and values of a plain section; a list has values alone."""
    if isinstance(value, Mapping):
        return [(name, _plain(v)) for name, v in _mapping(value).items()]
    return [("", _plain(item)) for item in _items(value)]


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in _mapping(value).items())
    return ", ".join(map(_plain, _items(value))) if isinstance(value, list | tuple) else str(value)
