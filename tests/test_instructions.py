"""What a model makes of its instructions: the source that takes parts away, and the probe that measures the drop."""

import itertools
from pathlib import Path
from random import Random

import pytest
from benchmarks import _plants_instructions as plants
from benchmarks._planting import Planted, cut, pick, put, questions

from callgrain.core import plugins, stats
from callgrain.core.errors import UnknownName
from callgrain.core.types import Message, Reading, Tool
from callgrain.panels.instructions import Instructions as Panel
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._graded import subtask_of
from callgrain.probes.instructions import MOST, PARTS, Instructions
from callgrain.sources.blanked import deal, plain, silent
from callgrain.verify.spoil import right


def traces(spec: str, n: int = 12) -> list:
    source = plugins.opened("sources", spec)
    return list(itertools.islice(source.traces(source.splits[0]), n))


def test_a_plain_tool_has_its_names_types_and_enums_and_no_words() -> None:
    tool = Tool(
        name="book",
        description="Books it.",
        parameters={
            "type": "object",
            "description": "all of it",
            "properties": {
                "description": {"type": "string", "description": "what to say", "enum": ["description", "title"]},
                "when": {"type": "object", "properties": {"title": {"type": "string", "title": "Title"}}},
                "how": {"anyOf": [{"type": "string", "description": "x"}, {"type": "null"}], "default": {"title": "t"}},
            },
            "required": ["description"],
        },
    )
    properties = plain(tool).parameters["properties"]
    assert plain(tool).description == ""
    assert properties == {
        "description": {"type": "string", "enum": ["description", "title"]},
        "when": {"type": "object", "properties": {"title": {"type": "string"}}},
        "how": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": {"title": "t"}},
    }
    assert plain(tool).required == ("description",)
    assert plain(plain(tool)) == plain(tool)


def test_dealt_descriptions_are_all_there_and_none_is_at_home() -> None:
    for trace in traces("toolworld:full", 20):
        dealt = deal(trace.tools, Random(3))
        assert dealt is not None
        assert sorted(t.description for t in dealt) == sorted(t.description for t in trace.tools)
        assert [t.name for t in dealt] == [t.name for t in trace.tools]
        assert [t.required for t in dealt] == [t.required for t in trace.tools]
        moved = [a.description != b.description for a, b in zip(dealt, trace.tools, strict=True)]
        assert any(moved)
    assert deal([Tool(name="a", description="same"), Tool(name="b", description="same")], Random(0)) is None


@pytest.mark.parametrize(
    ("what", "keeps"), [("descriptions", True), ("shuffled", True), ("request", True), ("tools", False)]
)
def test_the_source_takes_one_thing_and_keeps_the_target(what: str, keeps: bool) -> None:
    plainly = traces("toolworld:full")
    edited = traces(f"blanked,what={what}:toolworld:full")
    assert [t.gold for t in edited] == [t.gold for t in plainly]
    for old, new in zip(plainly, edited, strict=True):
        assert (new.messages == old.messages) is (what != "request")
        assert [t.name for t in new.tools] == ([t.name for t in old.tools] if keeps else [])
        assert new.key != old.key
    if what == "request":
        assert {m.text for t in edited for m in t.messages if m.role == "user"} == {"..."}
    with pytest.raises(UnknownName, match="descriptions"):
        plugins.opened("sources", "blanked,what=description:toolworld:full")


def test_only_what_the_user_says_is_silenced() -> None:
    assert silent(Message(role="system", text="be good")).text == "be good"
    assert silent(Message(role="user", text="hello")).text == "..."


def test_each_part_is_asked_with_a_key_that_its_verifier_takes() -> None:
    pool = cut("toolworld:full", ("names", "slots", "full", "response", "nest"), 8)
    asked = [s for _, _, s in questions(Instructions(), "instructions", pool)[len(pool) :]]
    assert {s.traits["instructions_part"] for s in asked} == set(PARTS)
    assert "response" not in {s.subtask for s in asked}
    for sample in asked:
        verdict = subtask_of(sample.subtask).grade(sample, right(sample))
        assert verdict.ok, (sample.subtask, sample.traits["instructions_part"], verdict.faults)


def test_planted_habits_are_read_through_a_run(tmp_path: Path) -> None:
    recipe = DiagnoseRecipe(
        model="planted", source="toolworld:full", subtask="names,full", probe="instructions,subtask", n=30
    )
    run = diagnose(recipe, tmp_path, model=Planted(plants.chance))
    found = readings(run)
    for part, lost in plants.LOST.items():
        row = pick(found, "use", subtask="all", part=part)
        assert row is not None
        assert row.low is not None
        assert row.high is not None
        assert row.low <= lost <= row.high, part
    request, text = (pick(found, "use", subtask="all", part=p) for p in ("request", "descriptions"))
    assert request is not None
    assert request.by["shown"] is True
    assert text is not None
    assert float(text.by["p"]) > float(request.by["p"])
    assert max(r.n for r in found if r.name == "use" and r.by["subtask"] == "names") <= MOST
    (run.folder / "done.json").unlink()
    assert readings(diagnose(recipe, tmp_path, model=Planted(plants.chance))) == found
    page = Panel().draw(found)
    assert page is not None
    assert "leans most on the request" in page
    assert "no descriptions: names and types alone" in page


def test_a_model_that_reads_descriptions_is_told_from_one_that_reads_names() -> None:
    pool = cut("toolworld:full", ("names",), 30)
    asked = questions(Instructions(), "instructions", pool)
    by_text = Instructions().read(put(plants.ByDescription(lambda _: 1.0), asked))
    by_name = Instructions().read(put(Planted(lambda _: 1.0), asked))
    for found, which in ((by_text, "follows_description"), (by_name, "follows_name")):
        for name in ("follows_description", "follows_name"):
            row = pick(found, name, subtask="names")
            assert row is not None
            assert row.value == float(name == which)
            assert row.n >= 5


def test_nothing_is_asked_without_traces_and_hostile_names_are_inert() -> None:
    pool = cut("toolworld:full", ("names",), 4)
    assert list(Instructions().samples(list(pool), Random(0))) == []
    assert Instructions().read([]) == []
    assert Panel().draw([]) is None
    by = {"subtask": "<img src=x>", "part": "names", "p": 0.5, "shown": False}
    page = Panel().draw([Reading(probe="instructions", name="use", value=0.1, low=0.0, high=0.2, n=4, by=by)])
    assert page is not None
    assert "<img" not in page


def test_clusters_widen_a_paired_difference_and_single_items_do_not() -> None:
    after, before = [True, True, False, True] * 5, [False, True, False, False] * 5
    alone = stats.paired_difference(after, before)
    assert stats.paired_difference(after, before, [str(i) for i in range(20)]) == alone
    twice = stats.paired_difference(after * 2, before * 2, [str(i) for i in range(20)] * 2)
    assert twice[0] == alone[0]
    assert twice[1] is not None
    assert alone[1] is not None
    naive = stats.paired_difference(after * 2, before * 2)
    assert naive[1] is not None
    assert twice[1] < naive[1]
    assert twice[1] == pytest.approx(alone[1], abs=0.03)
    assert stats.paired_difference([True, True], [False, True], ["a", "a"])[1:] == (None, None)
