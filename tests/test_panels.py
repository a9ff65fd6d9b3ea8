"""Every panel: one a probe, nothing where there is nothing, and sound markup whatever the readings hold."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import Markup

from callgrain.core import plugins
from callgrain.core.types import Reading
from callgrain.panels import _markup as mark
from callgrain.panels._plot import SHARES, Axis, Series, over, plot
from callgrain.panels.cost import Cost
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, standard
from callgrain.report.html import drawn, write_page

ELSEWHERE = {"cost", "prescription"}
"""Panels that draw what no probe of a diagnosis reads."""
VOID = {"br", "meta", "line", "circle", "rect", "polyline", "col", "path"}
EVIL = '<script>alert(1)</script>"\x1b[31m'


class Balanced(HTMLParser):
    """Raises where a tag is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_probe_has_a_panel_and_every_panel_a_probe() -> None:
    own = set(plugins.names("probes")) - set(standard())
    assert own
    assert set(plugins.names("panels")) == own | ELSEWHERE


@pytest.mark.parametrize("name", plugins.names("panels"))
def test_a_panel_draws_nothing_from_nothing(name: str) -> None:
    panel = plugins.load("panels", name)()
    assert panel.title
    assert panel.draw([]) is None
    assert panel.draw([Reading(probe="subtask", name="ok", value=1.0, n=3, by={"subtask": "names"})]) is None


def test_tables_plots_and_heat_maps_are_sound_and_inert() -> None:
    row = Reading(probe="x", name="y", value=0.5, low=0.4, high=0.6, n=7)
    table = mark.table((EVIL, "b"), [(EVIL, mark.share(row)), (mark.code(EVIL), "2")])
    heat = mark.heat([EVIL, "w"], [(EVIL, [row, None])], corner=EVIL)
    series = [
        Series(EVIL, ((1, 0.5, 0.4, 0.6), (4, 0.2, None, None))),
        Series("fit", curve=((1, 0.5), (4, 0.1)), style=1),
    ]
    drawing = plot(series, over([1, 2, 4], EVIL, log=True), caption=EVIL)
    page = mark.join([table, heat, drawing, mark.fold(EVIL, mark.said(EVIL)), mark.small(EVIL), mark.heading(EVIL)])
    assert "script" not in Balanced(page).tags
    assert "\x1b" not in page
    assert mark.sayings(page) == ['<script>alert(1)</script>"⟨U+001B⟩[31m']
    with pytest.raises(ValueError, match="cells"):
        mark.table(("a", "b"), [("only one",)])


def test_places_on_an_axis() -> None:
    assert SHARES.at(0.25) == 25
    assert SHARES.at(2) == 100
    doubled = over([2, 4, 8, 32], "load", log=True)
    assert [round(doubled.at(v)) for v in (2, 8, 32)] == [0, 50, 100]
    assert len(over(list(range(1, 40)), "many").ticks) <= 8
    assert Axis(3, 3, ()).at(3) == 0


def test_what_could_not_run_is_said() -> None:
    rows = [
        Reading(probe="cost", name="prompts", value=40.0, n=40, by={"of": "subtask"}),
        Reading(probe="cost", name="prompts", value=8.0, n=8, by={"of": EVIL}),
        Reading(probe="tier", name="modularity", value=None, by={"needs": "weights", "has": "text"}),
    ]
    page = Cost().draw(rows)
    assert page is not None
    assert "48 prompts in all" in page
    assert "weights: not run, the model gives text" in page
    assert "script" not in Balanced(page).tags


def test_the_page_shows_panels_with_their_examples_and_the_files_of_their_rows(tmp_path: Path) -> None:
    recipe = DiagnoseRecipe(
        model="scripted:wrong_value=0.4", source="toolworld:full", subtask="slots,nest", probe="standard,depth", n=25
    )
    run = diagnose(recipe, tmp_path)
    text = write_page(run).read_text()
    assert '<section id="p-depth"' in text
    assert '<a href="#p-depth">Depth of composition</a>' in text
    assert re.search(r"Examples: \d+ of \d+ of its own prompts went wrong", text)
    assert '<a href="probe_verdicts.jsonl">' in text
    assert '<section id="p-cost"' in text
    away = write_page(run, tmp_path / "elsewhere.html").read_text()
    assert 'href="probe_verdicts.jsonl"' not in away


def test_panels_stand_in_reading_order() -> None:
    rows = [Reading(probe="cost", name="prompts", value=40.0, n=40, by={"of": name}) for name in ("subtask", "depth")]
    rows.append(Reading(probe="depth", name="ok", value=0.5, low=0.4, high=0.6, n=4, by={"depth": 2, "width": 1}))
    assert [name for name, _, _ in drawn(rows)] == ["depth", "cost"]
    assert all(isinstance(body, Markup) for _, _, body in drawn(rows))
