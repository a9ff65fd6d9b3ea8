"""The grader card: wrong by construction, right by construction, and a card that can fail."""

import json
import unicodedata
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from callgrain.cli import card as card_verb
from callgrain.core import plugins
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.types import Accept, Answer, Call, Message, Origin, Prompt, Reading, Reply, Sample, Tool, Verdict
from callgrain.probes._apart import apart, differs
from callgrain.probes._card import CardRecipe, Case, card, cases, graders, make_card, outcome
from callgrain.probes._equivalences import EQUIVALENCES
from callgrain.probes._graded import SUBTASKS, Graded, subtask_of
from callgrain.probes._mutations import MUTATIONS
from callgrain.probes._pool import pool
from callgrain.probes.grader import GraderCard
from callgrain.sources._open import open_source
from callgrain.verify.faults import KINDS, fault
from callgrain.verify.values import MODES, same

ORIGIN = Origin(dataset="handmade", row="1", licence="none")


def sample_of(answer: Answer, properties: dict[str, Any], subtask: str = "full", **more: Any) -> Sample:
    """A sample whose one tool `f` has the given parameters."""
    tool = Tool(name="f", parameters={"type": "object", "properties": properties, **more})
    other = Tool(name="g", parameters={"type": "object", "properties": {}})
    prompt = Prompt(messages=(Message(role="user", text="please"),), tools=(tool, other))
    return Sample(subtask=subtask, prompt=prompt, answer=answer, origin=ORIGIN)


def one(value: Any, schema: dict[str, Any], accept: Accept | None = None) -> Sample:
    """A sample of one call with one argument `x`."""
    accepts = {"0.x": accept} if accept else {}
    return sample_of(Answer(calls=(Call(name="f", arguments={"x": value}),), accepts=accepts), {"x": schema})


STRING, NUMBER = {"type": "string"}, {"type": "number"}
HANDMADE = [
    one("/srv/data/new.csv", STRING),
    one("2024-01-11", STRING),
    one("12/01/2024", STRING),
    one("5 km", STRING),
    one("kilometers", STRING),
    one("Café Zoë", STRING),
    one(2.0, NUMBER),
    one("LA-1894", {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"}),
    one("a@b.example", STRING, Accept(values=("a@b.example", "A@B.example"))),
    one(True, {"type": "boolean"}, Accept(values=(True,), omissible=True)),
    one({"low": 3, "tags": ["one", "two"]}, {"type": "object", "properties": {"low": {"type": "integer"}}}),
    sample_of(
        Answer(calls=(Call(name="f", arguments={"x": 4}),)),
        {"x": {"type": "integer"}, "page": {"type": "integer", "default": 1}},
        required=["x"],
    ),
]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """The pools of both toolworlds, and the handmade ones."""
    out: list[Sample] = []
    for spec in ("toolworld:full", "toolworld:micro"):
        source, split = open_source(spec)
        out += [sample for _, sample in pool(source.traces(split), SUBTASKS, 12, 0)]
    return [*out, *HANDMADE]


@pytest.fixture(scope="module")
def made(samples: list[Sample]) -> list[Case]:
    """Everything that can be made of them."""
    return list(cases(samples, Random(0)))


def value_of(readings: list[Reading], name: str, kind: str = "all", grader: str = "strict") -> float | None:
    """The figure of one reading."""
    (found,) = [r for r in readings if r.name == name and r.by == {"grader": grader, "kind": kind}]
    return found.value


# what is made --------------------------------------------------------------------------------


def test_every_kind_is_made(made: list[Case]) -> None:
    assert {case.kind for case in made} == {*MUTATIONS, *EQUIVALENCES}


def test_mutations_declare_faults_of_the_table() -> None:
    assert all(m.kinds and m.kinds <= set(KINDS) for m in MUTATIONS.values())
    assert not MUTATIONS.keys() & EQUIVALENCES.keys()


def test_only_what_a_subtask_grades_is_made_on_it(made: list[Case]) -> None:
    assert all(case.own & subtask_of(case.sample.subtask).kinds for case in made if case.own)
    assert not {"response", "decide"} & {case.sample.subtask for case in made}
    on_names = {case.kind for case in made if case.sample.subtask == "names"}
    assert {"wrong_name", "missing_call", "truncated", "parallel_order"} <= on_names
    assert not {"text_edit", "invented_argument", "dropped_argument", "null", "key_order"} & on_names


def test_wrong_calls_are_apart_from_every_right_answer_and_right_ones_never(made: list[Case]) -> None:
    by_reference = {"wrong_order", "broken_reference", "rewired_reference"}
    for case in made:
        message = case.reply.message
        if message is None:
            assert case.reply.fault is not None
            assert case.kind in ("truncated", "malformed")
        elif not case.own:
            assert not any(differs(case.sample, message.calls, i) for i in range(len(message.calls)))
        elif case.kind not in by_reference:
            cased = case.kind == "case_change"
            assert any(differs(case.sample, message.calls, i, cased=cased) for i in range(len(message.calls)))


def test_replies_are_what_the_json_dialect_reads(made: list[Case]) -> None:
    dialect = plugins.load("dialects", "json")()
    for case in made[:: max(1, len(made) // 400)]:
        read = dialect.parse(case.reply.text)
        assert read == (case.reply.message or case.reply.fault)


def test_making_is_seeded_and_limited(samples: list[Sample]) -> None:
    first, again = (list(cases(samples, Random(5), 4)) for _ in range(2))
    assert first == again
    assert first != list(cases(samples, Random(6), 4))
    assert max(Counter(case.kind for case in first).values()) == 4


@pytest.mark.parametrize(
    ("kind", "value", "schema", "accept"),
    [
        ("date_reorder", "2024-01-31", STRING, None),  # there is no 31st month
        ("date_reorder", "2024-05-05", STRING, None),
        ("path_change", "km/h", STRING, None),
        ("path_change", "https://a.example/b", STRING, None),
        ("unit", "5 km", STRING, Accept(values=("5 mi", "5 m", "5 ft", "5 cm"))),
        ("null", "x", {"type": ["string", "null"]}, None),
        ("null", "x", {"type": "string", "nullable": True}, None),
        ("null", "x", {"type": "string", "default": None}, None),
        ("wrong_type", 5, {"type": ["integer", "string"]}, None),
        ("wrong_type", 5, {"anyOf": [{"type": "integer"}, {"type": "string"}]}, None),
        ("off_by_one", 5, {"type": "integer"}, Accept(values=(4, 6))),
        ("off_by_one", 500, {"type": "integer"}, Accept(mode="numeric:0.01")),
        ("sign_flip", 5, {"type": "integer"}, Accept(mode="any")),
        ("sign_flip", 0, {"type": "integer"}, None),
        ("dropped_argument", 5, {"type": "integer"}, Accept(omissible=True)),
        ("dropped_argument", 5, {"type": "integer", "default": 5}, None),
        ("case_change", "Oslo", STRING, None),
        ("text_edit", "2024-05-05", STRING, None),
    ],
)
def test_what_is_in_doubt_is_not_made(kind: str, value: Any, schema: dict[str, Any], accept: Accept | None) -> None:
    sample = one(value, schema, accept)
    assert all(MUTATIONS[kind].make(sample, Random(seed)) is None for seed in range(20))


def test_values_change_as_they_are_meant_to() -> None:
    def texts(kind: str, sample: Sample) -> set[str]:
        replies = (MUTATIONS[kind].make(sample, Random(seed)) for seed in range(40))
        return {r.message.calls[0].arguments["x"] for r in replies if r and r.message}

    assert texts("date_reorder", one("2024-01-11", STRING)) == {"2024-11-01"}
    assert texts("date_reorder", one("2024-01-11T09:30", STRING)) == {"2024-11-01T09:30"}
    assert texts("path_change", one("/a/b", STRING)) == {"/ab", "/a_b", "/a-b"}
    assert texts("unit", one("5 km", STRING)) == {"5 mi", "5 m", "5 ft", "5 cm"}
    assert texts("unit", one("celsius", STRING)) == {"fahrenheit", "kelvin"}
    assert texts("decimal_shift", one(1.5, NUMBER)) == {15.0, 0.15}


def test_numbered_parameters_are_not_swapped() -> None:
    def swapped(*names: str) -> Reply | None:
        call = Call(name="f", arguments={name: at + 3 for at, name in enumerate(names)})
        sample = sample_of(Answer(calls=(call,)), {name: {"type": "integer"} for name in names})
        return MUTATIONS["swapped_values"].make(sample, Random(0))

    assert swapped("a", "b") is swapped("side1", "side2") is swapped("first_number", "second_number") is None
    assert swapped("width", "height") is not None


def test_an_accepted_sibling_is_no_mutation() -> None:
    """3 instead of 1 is right where the second call accepts 1 and the first 2: the calls have only traded places."""
    calls = tuple(Call(name="f", arguments={"x": x}) for x in (1, 2))
    accepts = {"0.x": Accept(values=(2,)), "1.x": Accept(values=(3,))}
    sample = sample_of(Answer(calls=calls, accepts=accepts), {"x": {"type": "integer"}})
    assert not differs(sample, (Call(name="f", arguments={"x": 3}), calls[1]), 0)
    assert differs(sample, (Call(name="f", arguments={"x": 4}), calls[1]), 0)


def test_hostile_samples_make_no_crash() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    strange = [
        one(deep, {"type": "array"}),
        one(5, NUMBER, Accept(mode="numeric:much")),
        one("x", {"type": "string", "enum": "abc"}),
        one({"k": [1, {"m": "text"}]}, {"properties": 7, "items": []}),
        sample_of(Answer(calls=(Call(name="nobody", arguments={"x": 1}),)), {"x": True}),
        sample_of(Answer(calls=(Call(name="f", arguments={"x": 10**400}),)), {"x": NUMBER}),
        sample_of(Answer(calls=(Call(name="f"), Call(name="g")), before=((0, 9), (-1, 1))), {}),
        sample_of(Answer(calls=(Call(name="f", arguments={"x": "$a.b$"}),)), {"x": {}}),
        sample_of(Answer(calls=()), {}),
    ]
    assert (
        Counter(case.kind for case in cases(strange, Random(0)))["unchanged"] == 6
    )  # deep, dangling and empty ones out
    found = card(strange, graders("strict"), Random(0))
    assert value_of(found, "false_reject") == 0
    assert value_of(found, "kill_rate") == 1


# the comparison ------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NEAR = st.sampled_from(
    [0, 1, 1.0, -1, True, False, None, "1", "a", " A", "a ", "É", "E\u0301", "2024-01-11", "11 January 2024", [1], []]
)


@given(JSON)
def test_nothing_is_apart_from_itself(value: Any) -> None:
    assert not apart(value, value)
    assert not apart("elsewhere", value, Accept(values=(value,)))


@given(
    JSON | NEAR,
    JSON | NEAR,
    st.sampled_from([*(m for m in MODES if m != "regex"), "numeric:0.1", "regex:[a1]"]),
    st.lists(NEAR, max_size=2),
)
def test_what_is_apart_the_verifier_never_calls_the_same(a: Any, b: Any, mode: str, values: list[Any]) -> None:
    accept = Accept(mode=mode, values=tuple(values))
    if apart(a, b, accept):
        assert not same(a, b, {}, accept)


@given(st.text(max_size=8))
def test_spelling_is_never_apart(text: str) -> None:
    assert not apart(text, f"  {unicodedata.normalize('NFD', text)} ")
    assert not apart(text, unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("a", "b", "mode", "want"),
    [
        (1, 1.0, "exact", False),
        (1, True, "exact", True),
        (1, "1", "exact", True),
        (0, False, "exact", True),
        ("Oslo", "oslo", "exact", False),
        ("/a/b", "/ab", "exact", True),
        ("/a/b", "/ab", "normalised", False),
        ("2024-01-11", "2024-11-01", "date", True),
        ("11 January 2024", "2024-11-01", "date", False),  # it cannot read one, so it is not sure
        (100, 101, "numeric:0.01", False),
        (100, 110, "numeric:0.01", True),
        ([1, 2], [2, 1], "exact", True),
        ([1, 2], [2, 1], "unordered", False),
        ([1, 2], [1], "unordered", True),
        ([1, 2], [1, 2, 3], "subset", False),
        ({"a": 1}, {"a": 2}, "exact", True),
        ({"a": 1}, {}, "exact", False),
        (1, 2, "any", False),
    ],
)
def test_apart(a: Any, b: Any, mode: str, want: bool) -> None:
    assert apart(a, b, Accept(mode=mode)) is want


def test_letter_case_counts_where_it_is_asked_to() -> None:
    assert apart("LA-1", "la-1", cased=True)


# the card ------------------------------------------------------------------------------------


def yes(sample: Sample, reply: Reply) -> Verdict:
    """Accepts everything."""
    del sample, reply
    return Verdict()


def no(sample: Sample, reply: Reply) -> Verdict:
    """Refuses everything."""
    del sample, reply
    return Verdict(faults=(fault("needless_call"),), score=0.0)


def test_a_blind_grader_has_a_card_of_zeros_and_a_sulky_one_of_ones(samples: list[Sample]) -> None:
    found = card(samples, {"yes": yes, "no": no}, Random(0), 20)
    assert value_of(found, "kill_rate", grader="yes") == 0
    assert value_of(found, "false_reject", grader="yes") == 0
    assert value_of(found, "kill_rate", grader="no") == 1
    assert value_of(found, "own_class", grader="no") == 0
    assert value_of(found, "false_reject", grader="no") == 1
    assert {r.by["kind"] for r in found if r.name == "kill_rate"} == {*MUTATIONS, "all"}
    assert {r.by["kind"] for r in found if r.name == "false_reject"} == {*EQUIVALENCES, "all"}


def test_a_grader_blind_to_one_thing_is_found_out(samples: list[Sample]) -> None:
    """One that takes the separators out of texts, as a published grader does, passes a changed path."""

    def loose(sample: Sample, reply: Reply) -> Verdict:
        def bare(calls: tuple[Call, ...]) -> str:
            return json.dumps([(c.name, c.arguments) for c in calls]).replace("/", "").replace("_", "").replace("-", "")

        right = reply.message and bare(reply.message.calls) == bare(sample.answer.calls)
        return Verdict() if right else no(sample, reply)

    found = card(samples, {"loose": loose}, Random(0), 40)
    assert value_of(found, "kill_rate", "path_change", "loose") == 0
    assert value_of(found, "kill_rate", "off_by_one", "loose") == 1
    assert value_of(found, "false_reject", "unchanged", "loose") == 0


def test_strict_flags_all_by_name_and_refuses_nothing_right(samples: list[Sample]) -> None:
    found = card(samples, graders("strict"), Random(0))
    assert value_of(found, "kill_rate") == 1
    assert (value_of(found, "own_class") or 0) >= 0.995
    assert value_of(found, "false_reject") == 0
    assert value_of(found, "error") == value_of(found, "not_applicable") == 0


def test_totals_and_intervals_are_of_the_kinds(samples: list[Sample]) -> None:
    found = card(samples, graders("strict"), Random(0), 10)
    shares = [r for r in found if r.name in ("kill_rate", "own_class", "false_reject")]
    for name in ("kill_rate", "own_class", "false_reject"):
        rows = [r for r in shares if r.name == name]
        assert rows[-1].by["kind"] == "all"
        assert rows[-1].n == sum(r.n for r in rows[:-1])
    assert all(r.low is not None and r.high is not None and r.low <= (r.value or 0) <= r.high for r in shares)


def test_what_cannot_be_judged_is_counted_and_left_out(samples: list[Sample]) -> None:
    def picky(sample: Sample, reply: Reply) -> Verdict:
        if sample.subtask == "nest":
            raise KeyError("no key")
        if sample.subtask == "names":
            return Verdict(state="not_applicable", score=0.0)
        return yes(sample, reply)

    found = card(samples, {"picky": picky}, Random(0), 10)
    made = list(cases(samples, Random(0), 10))
    nest, names = (sum(case.sample.subtask == name for case in made) for name in ("nest", "names"))
    assert value_of(found, "error", grader="picky") == nest > 0
    assert value_of(found, "not_applicable", grader="picky") == names > 0
    counted = sum(r.n for r in found if r.name in ("kill_rate", "false_reject") and r.by["kind"] == "all")
    assert counted == len(made) - nest - names
    assert outcome(picky, next(case for case in made if case.sample.subtask == "nest")) == "error"


def test_nothing_to_change_gives_no_card(samples: list[Sample]) -> None:
    assert card([s for s in samples if s.subtask in ("response", "decide")], graders("strict"), Random(0)) == []


# graders by name -----------------------------------------------------------------------------


class Blind:
    """A compat grader that says yes."""

    def judge(self, sample: Sample, reply: Reply) -> Verdict:
        """Yes."""
        return yes(sample, reply)


class Shy:
    """One that can read no key, and breaks on every second sub-task."""

    def judge(self, sample: Sample, reply: Reply) -> Verdict:
        """Nothing."""
        if sample.subtask in ("names", "full"):
            raise RuntimeError(reply.text)
        return Verdict(state="not_applicable", score=0.0)


@pytest.fixture
def with_blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compat room with two graders, a class and an instance."""
    names, load = plugins.names, plugins.load
    room = {"blind": Blind, "shy": Shy()}
    monkeypatch.setattr(plugins, "names", lambda f: tuple(room) if f == "compat" else names(f))
    monkeypatch.setattr(plugins, "load", lambda f, n: room[n] if f == "compat" else load(f, n))


@pytest.mark.usefixtures("with_blind")
def test_graders_by_name() -> None:
    assert list(graders("all")) == list(graders()) == ["strict", "blind", "shy"]
    assert list(graders("shy, strict")) == ["shy", "strict"]
    assert graders(["blind"])["blind"](HANDMADE[0], Reply(text="", message=Message())).ok
    with pytest.raises(UnknownName, match="did you mean 'strict'"):
        graders("strickt")


def test_the_room_of_graders_can_be_carded(samples: list[Sample]) -> None:
    """Every grader that ships judges every case without breaking."""
    judges = graders("all")
    found = card(samples, judges, Random(0), 5)
    assert {r.by["grader"] for r in found} == set(judges)
    assert all(value_of(found, "error", grader=name) == 0 for name in judges)


# the probe and the verb ----------------------------------------------------------------------


def test_the_probe_repeats_itself_on_the_samples_that_were_asked(samples: list[Sample]) -> None:
    graded = [Graded(s, Reply(failure="down"), Verdict(state="not_applicable", score=0.0)) for s in samples]
    aside = [Graded(s, Reply(failure="down"), Verdict(), "control") for s in HANDMADE]
    found = GraderCard().read(graded)
    assert found == GraderCard().read([*graded, *aside])
    assert {r.by["grader"] for r in found} == {"strict"}
    assert {r.probe for r in found} == {"grader"}
    assert value_of(found, "kill_rate") == 1
    assert list(GraderCard().samples(samples, Random(0))) == []
    assert GraderCard().read([]) == []


@pytest.mark.usefixtures("with_blind")
def test_the_verb_prints_a_table_a_figure_and_keeps_the_readings(tmp_path: Path) -> None:
    app = typer.Typer()
    card_verb.add_to(app)
    app.command("other")(lambda: None)
    flags = ["card", "--source", "toolworld:micro", "--n", "3", "--grader", "strict,blind", "--out", str(tmp_path)]
    shown = CliRunner().invoke(app, [*flags, "--quiet"])
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    folder = Path(lines[-1])
    assert folder.parent == tmp_path / "card"
    assert folder.name.startswith("toolworld-")
    heads = [line for line in lines if "[95 % interval]" in line]
    assert len(heads) == 3
    total = lines[lines.index(heads[0]) + 1 : lines.index(heads[1])]
    assert total[0].split() == ["strict", "blind"]
    row = next(line for line in total if line.startswith("all "))
    assert "100.0 % [" in row
    assert " 0.0 % [" in row
    as_json = CliRunner().invoke(app, [*flags, "--json", "--quiet"])
    rows = [Reading.model_validate_json(line) for line in as_json.stdout.splitlines()]
    kept = [Reading.model_validate_json(line) for line in (folder / "readings.jsonl").read_text().splitlines()]
    assert rows == kept
    assert value_of(rows, "kill_rate", grader="blind") == 0


@pytest.mark.usefixtures("with_blind")
def test_a_grader_that_judges_nothing_is_said_to(tmp_path: Path) -> None:
    run = make_card(CardRecipe(source="toolworld:micro", n=1, grader="shy"), tmp_path)
    found = [Reading.model_validate(row) for row in run.rows("readings")]
    assert {r.name for r in found} == {"not_applicable", "error"}
    (silent, broken) = card_verb.tables(found)
    assert silent.startswith("shy cannot judge")
    assert broken.startswith("shy broke on")


@pytest.mark.usefixtures("with_blind")
def test_all_means_the_graders_that_there_are(tmp_path: Path) -> None:
    """A card of `all` is not found again where another grader has been plugged in since."""
    few = make_card(CardRecipe(source="toolworld:micro", n=1, grader="strict,blind"), tmp_path)
    full = make_card(CardRecipe(source="toolworld:micro", n=1), tmp_path)
    assert few.folder != full.folder
    assert full.folder == make_card(CardRecipe(source="toolworld:micro", n=1, grader="all"), tmp_path).folder


def test_what_the_user_can_mend_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="grader"):
        make_card(CardRecipe(grader="nobody"), tmp_path)
    with pytest.raises(UnknownName, match="sub-task"):
        make_card(CardRecipe(subtask="decide"), tmp_path)
    nothing = tmp_path / "traces.jsonl"
    source, split = open_source("toolworld:micro")
    quiet = next(t for t in source.traces(split) if t.gold.decision != "call")
    nothing.write_bytes(quiet.model_dump_json().encode() + b"\n")
    with pytest.raises(BadInput, match="no call to change"):
        make_card(CardRecipe(source=f"jsonl:{nothing}"), tmp_path)
