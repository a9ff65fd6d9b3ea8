"""Twins: their keys, what a reader of names or one who always declines makes of them, and relations without a key."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from benchmarks._planting import Planted, cut, diagnosed, pick, put, questions
from benchmarks._plants_shift import FAILED, Declines, Drags, NameReader, chance
from tests.cases import CASES

from callgrain.core.canonical import text_key
from callgrain.core.significance import holm, mcnemar
from callgrain.core.stats import paired_difference, share
from callgrain.core.types import (
    Accept,
    Answer,
    Call,
    Message,
    Origin,
    Prompt,
    Reading,
    Reply,
    Sample,
    Tool,
    Trace,
    Verdict,
)
from callgrain.panels.metamorphic import Metamorphic as MetamorphicPanel
from callgrain.panels.shift import Shift as ShiftPanel
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._graded import Graded, subtask_of
from callgrain.probes._pool import Pool
from callgrain.probes._shift_documents import changed_documentation, unit
from callgrain.probes._shift_edits import Fact, edited, facts
from callgrain.probes._shift_same import leaves_of, moved
from callgrain.probes._shift_twins import one_more_parameter, shorter
from callgrain.probes._shift_words import paraphrase
from callgrain.probes._unskilled import unskilled
from callgrain.probes.metamorphic import Metamorphic
from callgrain.probes.shift import MAKERS, MOST, PAIRS, TOUCHES, Shift
from callgrain.sources._pool import Pool as Tools
from callgrain.sources._wrapping import SkipError
from callgrain.verify.spoil import right

ORIGIN = Origin(dataset="made", row="0", licence="Apache-2.0")
HOSTILE = '<script>alert(1)</script>"\u202e'
NOWHERE = Tools(())
SOURCES = ("api_bank", "bfcl", "bfcl_multi_turn", "folio", "glaive", "hermes", "nestful", "openai_log", "rotbench")
SOURCES += ("seal_tools", "sgd", "snips", "star", "synthetic", "toolace", "toolalpaca", "when2call", "xlam")


def made(
    text: str, arguments: dict[str, Any], schemas: dict[str, Any], accepts: dict[str, Accept] | None = None
) -> Trace:
    """One call of one tool, `do`."""
    tool = Tool(
        name="do",
        description="Do what is asked.",
        parameters={"type": "object", "properties": schemas, "required": list(arguments)},
    )
    gold = Answer(calls=(Call(name="do", arguments=arguments),), accepts=accepts or {})
    return Trace(tools=(tool,), messages=(Message(role="user", text=text),), gold=gold, origin=ORIGIN)


@pytest.fixture(scope="module")
def wide() -> Pool:
    return cut("toolworld:full", ("full", "names", "slots"), 60)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return cut("toolworld:full", ("full",), 24)


@pytest.fixture(scope="module")
def asked(wide: Pool) -> list[Sample]:
    return [s for probe, _, s in questions(Shift(), "shift", wide) if probe == "shift"]


@pytest.fixture(scope="module")
def found() -> list[Reading]:
    """What both probes read of a model that fails some twins."""
    few = cut("toolworld:full", ("full", "slots"), 24)
    model = Planted(lambda sample: 0.1 if sample.traits["twin"] == "changed_documentation" else 1.0)
    return [*diagnosed(Shift(), "shift", few, model), *diagnosed(Metamorphic(), "metamorphic", few, model)]


def of(asked: list[Sample], twin: str, subtask: str = "full") -> list[Sample]:
    found = [s for s in asked if s.traits["twin"] == twin and s.subtask == subtask]
    assert found, twin
    return found


# the twins ------------------------------------------------------------------------------------


def test_every_twin_is_made_and_bounded_and_its_key_is_right_on_it(wide: Pool, asked: list[Sample]) -> None:
    base = {s.key: s for s in wide}
    count = Counter((s.subtask, s.traits["twin"]) for s in asked)
    assert {twin for subtask, twin in count if subtask == "full"} == set(MAKERS)
    assert all(n <= MOST[subtask] and twin in TOUCHES[subtask] for (subtask, twin), n in count.items())
    for sample in asked:
        original = base[str(sample.traits["of"])]
        assert subtask_of(sample.subtask).grade(sample, right(sample)).ok
        assert sample.subtask == original.subtask
        assert sample.prompt != original.prompt
        assert sample.prompt.messages[0].text == original.prompt.messages[0].text  # the same instruction
    assert len({s.key for s in asked}) == len(asked)


def test_the_originals_answer_is_right_where_nothing_due_has_changed_and_wrong_elsewhere(
    wide: Pool, asked: list[Sample]
) -> None:
    base = {s.key: s for s in wide}
    same = {"added", "reword", "reorder", "unit"}
    for sample in asked:
        held = subtask_of(sample.subtask).grade(sample, right(base[str(sample.traits["of"])])).ok
        assert held == (sample.traits["twin"] in same), sample.traits


def test_removal_and_addition_are_of_the_same_traces(asked: list[Sample]) -> None:
    for names in PAIRS.values():
        bases = [{s.traits["of"] for s in of(asked, name)} for name in names]
        assert bases[0] & bases[1]
        if names in (PAIRS["tool"], PAIRS["description"]):  # whatever allows the one allows the other
            assert bases[0] == bases[1]


def test_no_tool_keeps_the_number_and_added_adds_one(wide: Pool, asked: list[Sample]) -> None:
    base = {s.key: s for s in wide}
    for sample in of(asked, "no_tool"):
        original = base[str(sample.traits["of"])]
        names = {t.name for t in sample.prompt.tools}
        assert names.isdisjoint(c.name for c in original.answer.calls)
        assert len(sample.prompt.tools) <= len(original.prompt.tools)  # what might do the same goes without another
        assert sample.answer.decision == "decline"
    for sample in of(asked, "added"):
        original = base[str(sample.traits["of"])]
        assert len(sample.prompt.tools) == len(original.prompt.tools) + 1
        assert sample.answer.calls == original.answer.calls
    for sample in of(asked, "no_value"):
        assert sample.answer.decision == "ask"
        assert sample.prompt.tools == base[str(sample.traits["of"])].prompt.tools


def test_made_up_names_leave_no_old_name_and_the_documentation_as_it_is(wide: Pool, asked: list[Sample]) -> None:
    base = {s.key: s for s in wide}
    for sample in of(asked, "rename"):
        original = base[str(sample.traits["of"])]
        for new, old in zip(sample.prompt.tools, original.prompt.tools, strict=True):
            assert new.description == old.description
            assert new.name != old.name
            assert not set(new.properties) & set(old.properties)


def test_swapped_descriptions_move_the_gold_and_nothing_else(asked: list[Sample]) -> None:
    before = {s.traits["of"]: s for s in of(asked, "unswapped")}
    for after in of(asked, "swapped_descriptions"):
        one, other = before[after.traits["of"]].prompt.tools, after.prompt.tools
        bare = [[t.model_copy(update={"description": ""}) for t in tools] for tools in (one, other)]
        assert bare[0] == bare[1]
        changed = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
        assert len(changed) == 2
        assert changed[0][0].description == changed[1][1].description
        assert changed[0][0].parameters == changed[1][0].parameters
        (old,), (new,) = ({c.name for c in s.answer.calls} for s in (before[after.traits["of"]], after))
        assert {old, new} == {a.name for a, _ in changed}


@pytest.mark.parametrize(
    ("schema", "value", "wanted", "said"),
    [
        ({"type": "number", "description": "highest price"}, 12.5, 1250, "highest price, in cents"),
        ({"type": "string", "description": "day, YYYY-MM-DD"}, "2026-06-23", "23/06/2026", "day, DD/MM/YYYY"),
        ({"type": "string", "description": "start"}, "15:05", "3:05 PM", "12-hour clock"),
        ({"type": "string", "description": "where"}, "Oslo", "OSLO", "in capital letters"),
        ({"type": "string", "description": "which", "pattern": "^AB-1$"}, "AB-1", "ab-1", "in lower-case letters"),
    ],
)
def test_changed_documentation_changes_the_value_as_it_says(schema: Any, value: Any, wanted: Any, said: str) -> None:
    trace = made(
        "Do it.",
        {"price" if "price" in str(schema) else "it": value},
        {"price" if "price" in str(schema) else "it": schema},
    )
    out = changed_documentation(trace, NOWHERE, Random(0))
    (given,) = out.gold.calls[0].arguments.values()
    (told,) = out.tools[0].properties.values()
    assert given == wanted
    assert type(given) is type(wanted)
    assert said in told["description"]
    assert "pattern" not in told


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "enum": ["a", "B"]}, "B"),
        ({"type": "string", "description": "mail"}, "ann@example.org"),
        ({"type": "number", "description": "price in cents"}, 3),
        ({"type": "integer", "description": "how many"}, 3),
        ({"type": "string", "description": "x", "default": "Oslo"}, "Rome"),
    ],
)
def test_no_documentation_is_changed_where_the_right_value_would_not_be_known(schema: Any, value: Any) -> None:
    with pytest.raises(SkipError):
        changed_documentation(made("Do it.", {"it": value}, {"it": schema}), NOWHERE, Random(0))


@pytest.mark.parametrize(
    ("text", "value", "about", "wanted"),
    [
        ("Run 5 kilometers.", 5, "distance in kilometers", "Run 5000 meters."),
        ("Stay 17 nights there.", 17, "number of nights", "Stay 2 weeks and 3 nights there."),
        ("Stay 14 nights there.", 14, "number of nights", "Stay 2 weeks there."),
        ("Send 25 of them.", 25, "how many", "Send 2 dozen and 1 of them."),
        ("Spend at most 66.6 on it.", 66.6, "highest price", "Spend at most 6660 cents on it."),
    ],
)
def test_another_unit_of_the_request_leaves_the_key(text: str, value: Any, about: str, wanted: str) -> None:
    trace = made(text, {"it": value}, {"it": {"type": "number", "description": about}})
    out = unit(trace, NOWHERE, Random(0))
    assert out.messages[-1].text == wanted
    assert out.gold.calls == trace.gold.calls
    assert ("in dollars" in str(out.tools)) == ("cents" in wanted)


@pytest.mark.parametrize(
    ("text", "value", "about"),
    [
        ("Run 5 kilometers.", 5, "distance"),  # nothing says in what
        ("Run 5 kilometers and 5 miles.", 5, "distance in kilometers"),  # which of the two?
        ("Convert 20 yen.", 20, "amount of money"),
        ("Take the third.", 3, "how many"),
    ],
)
def test_no_unit_is_changed_where_the_documentation_does_not_state_it(text: str, value: Any, about: str) -> None:
    with pytest.raises(SkipError):
        unit(made(text, {"it": value}, {"it": {"type": "number", "description": about}}), NOWHERE, Random(0))


def test_accepted_values_follow_the_documentation() -> None:
    schema = {"it": {"type": "string", "description": "where"}}
    trace = made("Do it.", {"it": "Oslo"}, schema, {"0.it": Accept(values=("Christiania",), mode="normalised")})
    out = changed_documentation(trace, NOWHERE, Random(0))
    assert out.gold.accepts["0.it"] == Accept(values=("CHRISTIANIA",))


def test_a_shorter_chain_holds_the_value_that_is_there(wide: Pool, asked: list[Sample]) -> None:
    base = {s.key: s for s in wide}
    for sample in of(asked, "shorter"):
        original = base[str(sample.traits["of"])].answer
        assert len(sample.answer.calls) == len(original.calls) - 1
        assert sample.prompt.messages[-1].role == "tool"
        shown = str(sample.prompt.messages[-1].results[0].value)
        before = [value for call in original.calls for value in call.arguments.values()]
        for value in (value for call in sample.answer.calls for value in call.arguments.values()):
            assert value in before or str(value) in shown
    with pytest.raises(SkipError):
        shorter(made("Do it.", {}, {}), NOWHERE, Random(0))


def test_one_step_more_uses_the_last_result_and_keeps_the_words(wide: Pool, asked: list[Sample]) -> None:
    base = {s.key: s for s in wide}
    for sample in of(asked, "deeper"):
        original = base[str(sample.traits["of"])]
        assert len(sample.answer.calls) == len(original.answer.calls) + 1
        assert sample.answer.calls[-1].references[0].label == sample.answer.calls[-2].label
        old, new = original.prompt.messages[-1].text, sample.prompt.messages[-1].text
        assert new.startswith(old.rstrip(".?"))
        assert (
            int(sample.traits["depth"]) == max(1, int(original.traits["depth"])) + 1 or len(original.answer.calls) > 2
        )
        assert subtask_of("full").grade(sample, right(sample)).measures["win"] == 1.0


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Could you find a hotel in Rome?", "hotel in Rome"),
        ("I would like to return on March 9th.", "return on March 9th"),
        ("What is 3 + 4?", "What is 3 + 4?"),
        ("find rome", "find rome"),
        ("i want to hear jazz", "i want to hear jazz"),
        ("Line one.\nLine two.", "Line one.\nLine two."),
    ],
)
def test_a_paraphrase_keeps_what_is_asked_and_by_whom(text: str, kept: str) -> None:
    for seed in range(8):
        out = paraphrase(text, Random(seed))
        assert out != text
        assert kept in out
        assert not text.startswith("I would") or "you" not in out.lower().split()


def test_the_same_pool_and_seed_give_the_same_questions(pool: Pool) -> None:
    for probe in (Shift(), Metamorphic()):
        keys = [[s.key for s in probe.samples(pool, Random(3))] for _ in range(2)]
        assert keys[0] == keys[1]


ODD = (
    Tool(name="do", parameters={"properties": 5}),
    Tool(name="do", parameters={"properties": {"a": True, "b": {"enum": 3}, "c": {"enum": [None, {}]}}}),
    Tool(name="do", parameters={"properties": [], "required": "x"}),
    Tool(name="", description="\ud800".encode("utf-8", "replace").decode(), parameters={}),
)


@pytest.mark.parametrize("tool", ODD)
def test_odd_tools_make_fewer_twins_and_no_failure(tool: Tool) -> None:
    gold = Answer(calls=(Call(name=tool.name, arguments={"a": "Oslo 3"}),))
    message = Message(role="user", text="Go to Oslo on 2026-02-31 with 3 of AB-12, 3.5 km.")
    trace = Trace(tools=(tool, tool), messages=(message,), gold=gold, origin=ORIGIN)
    rows = [(trace.key, s) for n in MOST for s in subtask_of(n).samples(trace, Random(0))]
    odd = Pool(tuple(rows), {trace.key: trace})
    for probe, name in ((Shift(), "shift"), (Metamorphic(), "metamorphic")):
        diagnosed(probe, name, odd, Planted(lambda _: 1.0))


@pytest.mark.parametrize("case", SOURCES)
def test_any_source_will_do(case: str) -> None:
    found = cut(CASES[case].own, tuple(MOST), 6)
    for probe, name in ((Shift(), "shift"), (Metamorphic(), "metamorphic")):
        rows = diagnosed(probe, name, found, Planted(lambda _: 1.0))
        wrong = [r for r in rows if r.name in ("ok", "both", "target", "collateral") and r.n and r.value != 1.0]
        assert wrong == []


# the figures ----------------------------------------------------------------------------------


def judged(sample: Sample, ok: bool, probe: str) -> Graded:
    verdict = Verdict() if ok else Verdict(score=0.0, faults=({"kind": "wrong_value"},))  # type: ignore[arg-type]
    return Graded(sample, Reply(text="-", message=Message(text="-")), verdict, probe, str(sample.origin.row))


def sample_of(row: int, **traits: str) -> Sample:
    prompt = Prompt(messages=(Message(role="user", text=f"{row} {traits}"),))
    return Sample(
        subtask="full",
        prompt=prompt,
        answer=Answer(),
        traits=dict(traits),
        origin=ORIGIN.model_copy(update={"row": str(row)}),
    )


def test_figures_by_hand() -> None:
    """40 originals, 30 right; of these 12 `rename` twins are right, of the others 2; `reorder` follows its original."""
    graded: list[Graded] = []
    for i in range(40):
        base = sample_of(i)
        graded.append(judged(base, i < 30, "subtask"))
        graded.append(judged(sample_of(i, twin="rename", of=base.key), i < 12 or i in (30, 31), "shift"))
        graded.append(judged(sample_of(i, twin="reorder", of=base.key), i < 30, "shift"))
    found = Shift().read(graded)
    by = {(r.name, r.by.get("twin")): r for r in found}
    assert (by["ok", "rename"].value, by["original", "rename"].value) == (14 / 40, 30 / 40)
    transfer = by["transfer", "rename"]
    assert (transfer.value, transfer.low, transfer.high, transfer.n) == (*share(12, 30), 30)
    gap = by["difference", "rename"]
    after, before = [i < 12 or i in (30, 31) for i in range(40)], [i < 30 for i in range(40)]
    assert (gap.value, gap.low, gap.high) == paired_difference(after, before)
    assert gap.by["p"] == holm([mcnemar(2, 18), mcnemar(0, 0)])[0]
    assert gap.by["shown"] is True
    assert "needed" not in gap.by
    other = by["difference", "reorder"]
    assert (other.value, other.by["p"], other.by["shown"]) == (0.0, 1.0, False)
    assert int(other.by["needed"]) > 100
    assert by["procedure", None].value == (12 + 30) / 60


def test_a_twin_whose_reply_failed_is_in_no_mean() -> None:
    base = sample_of(0)
    lost = Graded(
        sample_of(0, twin="rename", of=base.key),
        Reply(failure="gone"),
        Verdict(state="not_applicable", score=0.0),
        "shift",
    )
    assert (
        Shift().read([judged(base, True, "subtask"), lost])
        == [Reading(probe="shift", name="procedure", value=None, n=0, by={"subtask": "full"})]
        or Shift().read([judged(base, True, "subtask"), lost]) == []
    )


def test_always_declining_is_half_of_a_pair_and_never_both(pool: Pool) -> None:
    found = diagnosed(Shift(), "shift", pool, Declines(lambda _: 1.0))
    assert pick(found, "ok", twin="no_tool").value == 1.0  # type: ignore[union-attr]
    assert pick(found, "ok", twin="added").value == 0.0  # type: ignore[union-attr]
    assert pick(found, "balanced", change="tool").value == 0.5  # type: ignore[union-attr]
    assert pick(found, "both", change="tool").value == 0.0  # type: ignore[union-attr]
    assert pick(found, "transfer", twin="no_tool").value is None  # type: ignore[union-attr]


def test_who_goes_by_names_is_right_on_one_of_two_descriptions(pool: Pool) -> None:
    found = diagnosed(Shift(), "shift", pool, NameReader(lambda _: 1.0))
    assert pick(found, "balanced", change="description").value == 0.5  # type: ignore[union-attr]
    assert pick(found, "both", change="description").value == 0.0  # type: ignore[union-attr]
    assert pick(found, "ok", twin="rename").value == 1.0  # type: ignore[union-attr]


# without a key --------------------------------------------------------------------------------


class Lexical:
    """A text model that goes by shared words and was told nothing."""

    name = "lexical"

    def answer(self, prompts: list[Prompt]) -> list[Reply]:
        none = (Counter[str](), Counter[str]())
        return [unskilled("lexical", "full", p, none, Random(text_key("lexical", p.key))) for p in prompts]


def without_key(pool: Pool) -> list[Reading]:
    asked = questions(Metamorphic(), "metamorphic", pool)
    replies = Lexical().answer([s.prompt for _, _, s in asked])
    wrong = Verdict(state="graded", score=0.0, faults=({"kind": "wrong_tool"},))  # type: ignore[arg-type]
    graded = [Graded(s, r, wrong, probe, trace) for (probe, trace, s), r in zip(asked, replies, strict=True)]
    return Metamorphic().read(graded)


def test_shuffling_the_key_changes_no_reading() -> None:
    pool = cut("toolworld:full", ("full",), 60)
    golds = [pool.traces[key].gold for key, _ in pool.rows]
    Random(5).shuffle(golds)
    traces = {
        key: pool.traces[key].model_copy(update={"gold": gold}) for (key, _), gold in zip(pool.rows, golds, strict=True)
    }
    rows = tuple((key, next(subtask_of("full").samples(trace, Random(0)))) for key, trace in traces.items())
    found = without_key(pool)
    assert found == without_key(Pool(rows, traces))
    assert {r.name for r in found} == {"target", "collateral", "usable", "chance"}
    values = [r.value for r in found if r.name in ("target", "collateral")]
    assert len({round(v or 0, 3) for v in values}) > 2  # it is no reading that is the same for everyone


def test_edits_move_what_they_must(pool: Pool) -> None:
    found = diagnosed(Metamorphic(), "metamorphic", pool, Planted(lambda _: 1.0))
    assert all(r.value == 1.0 for r in found if r.name in ("target", "collateral"))
    assert pick(found, "chance").value == 0.0  # type: ignore[union-attr]
    declined = diagnosed(Metamorphic(), "metamorphic", pool, Declines(lambda _: 1.0))
    assert all(r.value == 0.0 for r in declined if r.name == "usable")
    assert all(r.value is None for r in declined if r.name in ("target", "collateral"))


class Stuck(Planted):
    """Right on the originals; to whatever was edited it says the same again."""

    def _one(self, prompt: Prompt) -> Reply:
        sample = next(s for s in self._known.values() if s.prompt == prompt)
        original = next((s for s in self._known.values() if s.key == sample.traits.get("of")), sample)
        return right(original if "was" in sample.traits else sample)


def test_who_does_not_read_the_edit_is_stable_and_misses_every_target() -> None:
    found = diagnosed(Metamorphic(), "metamorphic", cut("toolworld:full", ("full",), 40), Stuck(lambda _: 1.0))
    assert pick(found, "target", change="edit").value == 0.0  # type: ignore[union-attr]
    assert pick(found, "collateral", change="edit").value == 1.0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "kind", "was", "becomes"),
    [
        ("Give it 3 stars.", "number", "3", "2"),
        ("Give it 1 star.", "number", "1", "2"),
        ("Pay 13.5 for it.", "number", "13.5", "12.5"),
        ("Go on 2026-06-01.", "date", "2026-06-01", "2026-06-02"),
        ("Go on June 23, 2026.", "date", "June 23, 2026", "June 22, 2026"),
        ("Take AB-1894.", "identifier", "AB-1894", "AB-1895"),
    ],
)
def test_facts_are_found_once_and_edited(text: str, kind: str, was: str, becomes: str) -> None:
    trace = made(text, {}, {})
    assert facts(trace, Random(0))[kind] == Fact(kind, was, becomes)
    assert edited(trace, Fact(kind, was, becomes)).messages[-1].text == text.replace(was, becomes)


def test_what_is_said_twice_is_no_fact() -> None:
    assert facts(made("Between 3 and 3, on 2026-06-02 and 2026-06-02.", {}, {}), Random(0)) == {}
    assert "number" not in facts(made("On 1,300 of 12:30, 5kg, 3-4", {}, {}), Random(0))


def test_a_date_moves_in_whatever_form_the_argument_has_it() -> None:
    fact = Fact("date", "June 23, 2026", "June 22, 2026")
    assert [fact.edited(v) for v in ("2026-06-23", "on June 23, 2026", 23, ["2026-06-23"], "$a.date$", None, True)] == [
        "2026-06-22", "on June 22, 2026", 23, ["2026-06-22"], "$a.date$", None, True,
    ]  # fmt: skip


def reply(*calls: Call) -> Reply:
    return Reply(text="-", message=Message(calls=calls))


def test_target_and_collateral_by_hand() -> None:
    fact = Fact("number", "3", "2")
    old = reply(Call(name="do", arguments={"n": 3, "at": "Oslo"}))
    for given, wanted in (
        (old, (False, True)),
        (reply(Call(name="do", arguments={"n": 2, "at": "Oslo"})), (True, True)),
        (reply(Call(name="do", arguments={"at": "Oslo", "n": 2.0})), (True, True)),
        (reply(Call(name="do", arguments={"n": 2, "at": "Rome"})), (True, False)),
        (reply(Call(name="do", arguments={"n": 7, "at": "Oslo"})), (False, True)),
        (reply(Call(name="do", arguments={"at": "Oslo"})), (False, False)),
        (reply(*([Call(name="do", arguments={"n": 2, "at": "Oslo"})] * 2)), (True, False)),
        (reply(), (False, False)),
    ):
        assert moved(given, old, fact, ()) == wanted
    assert moved(old, reply(Call(name="do", arguments={"n": 4})), fact, ()) is None
    assert moved(old, reply(Call(name="do", arguments={"n": 3, "m": 3})), fact, ()) is None


def test_leaves_pass_over_order_labels_and_defaults() -> None:
    tool = Tool(name="b", parameters={"properties": {"x": {}, "k": {"default": 1}}})
    one = (Call(name="a", label="u"), Call(name="b", arguments={"x": "$u.id$"}))
    other = (Call(name="b", arguments={"x": "$v.id$", "k": 1.0}), Call(name="a", label="v"))
    assert leaves_of(one, (tool,)) == leaves_of(other, (tool,))
    assert leaves_of(one, (tool,)) != leaves_of(other[:1], (tool,))


# a whole run ----------------------------------------------------------------------------------


def run(folder: Path, model: Any, **changes: Any) -> list[Reading]:
    recipe = {"model": "planted", "source": "toolworld:full", "subtask": "full", "probe": "shift,metamorphic", "n": 40}
    return readings(diagnose(DiagnoseRecipe(**{**recipe, **changes}), folder, model=model))


def test_a_diagnosis_finds_what_was_planted_and_resumes_to_the_same(tmp_path: Path) -> None:
    found = run(tmp_path, Planted(chance))
    for twin, rate in FAILED.items():
        row = pick(found, "transfer", twin=twin)
        assert row is not None
        assert abs((row.value or 0) - rate) < 3 * (0.25 / row.n) ** 0.5
    assert pick(found, "ok", twin="rename").value == 1.0  # type: ignore[union-attr]
    assert pick(found, "difference", twin="changed_documentation").by["shown"] is True  # type: ignore[union-attr]
    (folder,) = (tmp_path / "diagnose").iterdir()
    (folder / "done.json").unlink()
    kept = (folder / "replies.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "replies.jsonl").write_bytes(b"".join(kept[: len(kept) // 2]))
    assert run(tmp_path, Planted(chance)) == found


def test_dragged_edits_are_found_at_their_rates() -> None:
    found = diagnosed(Metamorphic(), "metamorphic", cut("toolworld:full", ("full",), 60), Drags(lambda _: 1.0))
    for name, rate in (("target", 0.7), ("collateral", 0.85)):
        row = pick(found, name, change="edit")
        assert row is not None
        assert row.low is not None
        assert row.high is not None
        assert row.low <= rate <= row.high


def test_a_pool_of_which_nothing_can_be_made_reads_nothing(tmp_path: Path) -> None:
    found = run(tmp_path, Planted(lambda _: 1.0), subtask="response", n=10)
    assert [r for r in found if r.probe == "shift"] == []
    assert Shift().read([]) == []
    assert Metamorphic().read([]) == []


# the panels -----------------------------------------------------------------------------------


def test_the_panels_say_what_breaks_it_and_what_moved(found: list[Reading]) -> None:
    page = str(ShiftPanel().draw(found))
    assert "breaks most on <code>changed_documentation</code>" in page
    places = [page.index(f'<th scope="row"><code>{twin}') for twin in ("no_tool", "added", "no_value")]
    assert places == sorted(places)
    assert "Both ways of a change" in page
    assert "<details>" in page
    assert "the argument that held it followed in" in str(MetamorphicPanel().draw(found))


def test_the_panel_says_where_nothing_is_shown(pool: Pool) -> None:
    page = str(ShiftPanel().draw(diagnosed(Shift(), "shift", pool, Planted(lambda _: 1.0))))
    assert "No shift is shown to hurt: of 14 least changes" in page
    assert "pairs of each" in page


def test_nothing_is_drawn_of_nothing_and_hostile_names_are_inert(found: list[Reading]) -> None:
    others = [Reading(probe="subtask", name="ok", value=1.0, n=3, by={"subtask": "full"})]
    assert ShiftPanel().draw(others) is None
    assert MetamorphicPanel().draw(others) is None
    hostile = [
        r.model_copy(update={"by": {k: HOSTILE if isinstance(v, str) else v for k, v in r.by.items()}}) for r in found
    ]
    for panel in (ShiftPanel(), MetamorphicPanel()):
        page = str(panel.draw(hostile))
        assert "<script" not in page
        assert "\u202e" not in page


def test_the_extra_parameter_is_required_said_and_due() -> None:
    trace = made("Go to Oslo.", {"it": "Oslo"}, {"it": {"type": "string"}})
    out = one_more_parameter(trace, NOWHERE, Random(1))
    (new,) = set(out.gold.calls[0].arguments) - {"it"}
    assert new in out.tools[0].required
    assert str(out.gold.calls[0].arguments[new]) in out.messages[-1].text
    graded = put(Planted(lambda _: 1.0), [("shift", "", s) for s in subtask_of("full").samples(out, Random(0))])
    assert graded[0].verdict.ok
