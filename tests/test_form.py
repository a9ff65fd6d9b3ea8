"""What broken form costs: figures by hand on replies that a dialect really read."""

from __future__ import annotations

from random import Random

import pytest

from callgrain.core import plugins
from callgrain.core.stats import share
from callgrain.core.types import Answer, Call, Fault, Message, Origin, Prompt, Reading, Reply, Sample, Tool, Verdict
from callgrain.dialects._recover import NEAR_MISSES, spoken
from callgrain.probes._graded import Graded, subtask_of
from callgrain.probes._outputs import ABSENT
from callgrain.probes.form import UNNAMED, plugin

DIALECT = plugins.load("dialects", "json")()
RIGHT = '[{"name": "weather", "arguments": {"city": "Ghent"}}]'
WRONG = RIGHT.replace("Ghent", "Bruges")
SHAPES = {
    "single_quotes": lambda text: text.replace('"', "'"),
    "fence": lambda text: f"```json\n{text}\n```",
    "prose_around": lambda text: f"Sure: {text}",
    "trailing_comma": lambda text: text[:-1] + ",]",
}


def graded(subtask: str, at: int, reply: Reply, probe: str = "subtask") -> Graded:
    """A reply judged by its own sub-task."""
    sample = Sample(
        subtask=subtask,
        prompt=Prompt(
            messages=(Message(role="user", text=f"Weather in Ghent? {at}"),),
            tools=(
                Tool(name="weather", parameters={"properties": {"city": {"type": "string"}}, "required": ["city"]}),
            ),
        ),
        answer=Answer(calls=(Call(name="weather", arguments={"city": "Ghent"}),)),
        origin=Origin(dataset="made", row=str(at), licence="Apache-2.0"),
    )
    return Graded(sample, reply, subtask_of(subtask).grade(sample, reply), probe)


def read(*items: Graded) -> dict[tuple[str, str, str], Reading]:
    """Readings by name, sub-task and near-miss; no two have the same."""
    found = plugin().read(items)
    assert {r.probe for r in found} <= {"form"}
    out = {(r.name, str(r.by.get("subtask", "")), str(r.by.get("near_miss", ""))): r for r in found}
    assert len(out) == len(found)
    return out


def figure(row: Reading) -> tuple[float | None, float | None, float | None, int]:
    return row.value, row.low, row.high, row.n


@pytest.fixture
def items() -> list[Graded]:
    """`full`: 12 replies, 7 broken, 4 of them right but for it; `slots`: 5, none broken; two stand aside."""
    texts = [
        *(SHAPES["single_quotes"](text) for text in (RIGHT, RIGHT, WRONG)),
        *(SHAPES["fence"](text) for text in (RIGHT, WRONG)),
        SHAPES["prose_around"](RIGHT),
        '[{"name" "weather"',
        *([RIGHT] * 4),
        WRONG,
    ]
    whole = [graded("full", at, spoken(DIALECT, text)) for at, text in enumerate(texts)]
    whole += [graded("slots", at, spoken(DIALECT, RIGHT)) for at in range(5)]
    aside = graded("full", 90, spoken(DIALECT, SHAPES["fence"](RIGHT)), "controls")
    return [*whole, aside, graded("full", 91, Reply(failure="timed out"))]


def test_readings_are_those_by_hand(items: list[Graded]) -> None:
    found = read(*items)
    assert figure(found["broken", "full", ""]) == (*share(7, 12), 12)
    assert figure(found["right_but_for_form", "full", ""]) == (*share(4, 12), 12)
    assert figure(found["broken", "", ""]) == (*share(7, 17), 17)
    assert figure(found["right_but_for_form", "", ""]) == (*share(4, 17), 17)
    counts = {"single_quotes": 3, "fence": 2, "prose_around": 1, UNNAMED: 1}
    for subtask in ("full", ""):
        assert {miss for name, of, miss in found if name == "near_miss" and of == subtask} == set(counts)
        for miss, count in counts.items():
            assert figure(found["near_miss", subtask, miss]) == (*share(count, 7), 7)


def test_where_nothing_is_broken_there_is_its_share_alone(items: list[Graded]) -> None:
    found = read(*items)
    assert [key for key in found if key[1] == "slots"] == [("broken", "slots", "")]
    assert figure(found["broken", "slots", ""]) == (*share(0, 5), 5)
    assert set(read(*(g for g in items if g.sample.subtask == "slots"))) == {
        ("broken", "slots", ""),
        ("broken", "", ""),
    }
    assert read() == {}


def test_no_score_changes(items: list[Graded]) -> None:
    before = [g.verdict.ok for g in items]
    assert sum(before[:12]) == 4
    plugin().read(items)
    scores = {r.by["subtask"]: r.value for r in plugins.load("probes", "subtask")().read(items) if r.name == "ok"}
    assert scores == {"full": 4 / 12, "slots": 1.0}
    assert [g.verdict.ok for g in items] == before
    assert list(plugin().samples([g.sample for g in items], Random(0))) == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("text", "right"), [(RIGHT, 1.0), (WRONG, 0.0)])
def test_every_near_miss_is_named_and_told_from_lack_of_skill(shape: str, text: str, right: float) -> None:
    found = read(graded("full", 0, spoken(DIALECT, SHAPES[shape](text))))
    assert found["near_miss", "full", shape].value == 1.0
    assert found["right_but_for_form", "full", ""].value == right


def test_a_missing_output_has_no_form() -> None:
    absent = graded("full", 0, Reply(fault=ABSENT))
    assert read(absent) == {}
    assert figure(read(absent, graded("full", 1, spoken(DIALECT, RIGHT)))["broken", "full", ""]) == (*share(0, 1), 1)


def test_strange_details_and_faults_are_kept_out_of_the_names() -> None:
    odd = [Reply(fault=Fault(kind="unparsable", detail=f"<b>{at}\x1b")) for at in range(50)]
    found = read(*(graded("full", at, reply) for at, reply in enumerate(odd)))
    assert {miss for name, _, miss in found if name == "near_miss"} == {UNNAMED}
    assert UNNAMED not in NEAR_MISSES
    other = Graded(graded("full", 0, odd[0]).sample, Reply(fault=Fault(kind="wrong_value")), Verdict())
    assert read(other)["broken", "", ""].value == 0.0


def test_a_grader_that_breaks_on_a_recovered_turn_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    item = graded("full", 0, spoken(DIALECT, SHAPES["fence"](RIGHT)))

    class Broken:
        def grade(self, sample: Sample, reply: Reply) -> Verdict:
            raise KeyError(sample.subtask, reply.text)

    monkeypatch.setattr("callgrain.probes.form.subtask_of", lambda name: Broken())
    assert read(item)["right_but_for_form", "full", ""].value == 0.0
