"""Toolworld: the same everywhere, executable, disjoint where it says so, closed in its words."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callgrain.core.canonical import canonical
from callgrain.core.errors import CallgrainError, UnknownName
from callgrain.core.types import Call, Trace
from callgrain.sources.toolworld import Toolworld, plugin
from callgrain.tools._catalogue import ToolError, open_world, read_catalogue
from callgrain.tools._execute import execute, outcome, references
from callgrain.tools._toolworld_micro import _NOUNS, _PARAMS, _POOLS, _VERBS, vocabulary
from callgrain.tools.toolworld import universe

LEVELS = ("micro", "full")
LIMITS = {"micro": (2, 2), "full": (3, 3)}
KINDS = {"single", "parallel", "chain", "nest", "decline", "ask", "answer"}
WORLDS = {level: Toolworld(level) for level in LEVELS}
some_trace = st.tuples(
    st.sampled_from(LEVELS), st.sampled_from(Toolworld.splits), st.integers(min_value=0, max_value=10**9)
)
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def fingerprint() -> str:
    out = hashlib.sha256()
    for level in LEVELS:
        for split in Toolworld.splits:
            for trace in islice(WORLDS[level].traces(split), 50):
                out.update(canonical(trace.model_dump(mode="json")))
    return out.hexdigest()


def edges(trace: Trace) -> set[tuple[str, str, str]]:
    by_label = {c.label: c.name for c in trace.gold.calls}
    found: set[tuple[str, str, str]] = set()
    for call in trace.gold.calls:
        for name, value in call.arguments.items():
            for ref in references(Call(name="", arguments={"": value})):
                found.add((by_label[ref.label], call.name, name))
    return found


def request_key(trace: Trace) -> bytes:
    return canonical([trace.messages[-1].text, sorted(t.name for t in trace.tools)])


def test_another_process_makes_the_same_traces() -> None:
    code = "from test_toolworld import fingerprint; print(fingerprint())"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    env = os.environ | {"PYTHONHASHSEED": "4711", "PYTHONPATH": path}
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == fingerprint()


def test_a_trace_does_not_hang_on_what_was_asked_before() -> None:
    for level in LEVELS:
        source = plugin(level)
        later = [source.trace("train", i) for i in reversed(range(30))]
        assert list(islice(plugin(level).traces("train"), 30)) == later[::-1]
        assert next(source.traces("train", start=17)) == source.trace("train", 17)


@given(some_trace)
@few
def test_gold_runs_and_comes_to_its_result(where: tuple[str, str, int]) -> None:
    level, split, index = where
    trace = WORLDS[level].trace(split, index)
    gold, world = trace.gold, open_world(trace.gold.world)
    shown = {t.name: t for t in trace.tools}
    assert len(shown) == len(trace.tools) == trace.traits["n_tools"]
    if gold.decision != "call":
        assert not gold.calls
        assert not trace.results
        return
    results = execute(gold.calls, world)
    assert results == trace.results
    assert outcome(gold.calls, results) == gold.result
    assert gold.result is not None
    assert all(call.name in shown for call in gold.calls)
    assert all(set(c.arguments) <= set(shown[c.name].properties) for c in gold.calls)
    assert all(set(shown[c.name].required) <= set(c.arguments) for c in gold.calls)
    assert all(fact in trace.reply for fact in gold.facts)
    assert gold.facts


@given(some_trace)
@few
def test_a_split_holds_out_what_its_name_says(where: tuple[str, str, int]) -> None:
    level, split, index = where
    trace, world = WORLDS[level].trace(split, index), WORLDS[level].world
    tools = {c.name for c in trace.gold.calls}
    depth, width = LIMITS[level]
    if split in ("train", "test"):
        assert all(world.seen_tool(t.name) for t in trace.tools)
        assert all(world.seen_edge(*e) for e in edges(trace))
    if split in ("train", "test", "unseen_tool", "unseen_edge"):
        assert trace.traits["depth"] <= depth
        assert trace.traits["width"] <= width
    if split == "unseen_tool" and tools:
        assert not all(world.seen_tool(t) for t in tools)
    if split == "unseen_edge":
        assert edges(trace)
        assert not any(world.seen_edge(*e) for e in edges(trace))
    if split == "unseen_depth":
        assert trace.traits["depth"] > depth
    if split == "unseen_width":
        assert trace.traits["width"] > width
    if split != "unseen_tool":
        assert all(world.seen_tool(t) for t in tools)


@pytest.mark.parametrize("level", LEVELS)
def test_train_and_test_share_no_request_and_no_plan(level: str) -> None:
    sides: dict[str, tuple[set[bytes], set[bytes]]] = {}
    for split in ("train", "test"):
        traces = list(islice(WORLDS[level].traces(split), 1200))
        plans = {canonical([[c.name, c.arguments] for c in t.gold.calls]) for t in traces if t.gold.calls}
        sides[split] = ({request_key(t) for t in traces}, plans)
    assert not sides["train"][0] & sides["test"][0]
    assert not sides["train"][1] & sides["test"][1]
    assert len(sides["train"][1]) > 800


@pytest.mark.parametrize("level", LEVELS)
def test_all_kinds_occur_in_fixed_shares(level: str) -> None:
    counts = Counter(t.traits["kind"] for t in islice(WORLDS[level].traces("train"), 400))
    assert set(counts) == KINDS
    assert (counts["single"], counts["nest"], counts["ask"], counts["decline"]) == (80, 80, 40, 40)
    nests = [t for t in islice(WORLDS[level].traces("train"), 400) if t.traits["kind"] == "nest"]
    assert {t.traits["fan_in"] for t in nests} >= {1, 2}
    twice = [t for t in islice(WORLDS[level].traces("train"), 400) if t.traits["kind"] == "parallel"]
    assert 0 < sum(len({c.name for c in t.gold.calls}) < len(t.gold.calls) for t in twice) < len(twice)
    assert all(t.gold.ordered == (t.traits["kind"] == "chain") for t in nests + twice)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", ["train", "unseen_tool"])
def test_twins_differ_from_their_single_in_what_they_lack(level: str, split: str) -> None:
    families: dict[str, dict[str, Trace]] = {}
    for trace in islice(WORLDS[level].traces(split), 400):
        if trace.traits["twin"]:
            families.setdefault(str(trace.traits["twin"]), {})[str(trace.traits["kind"])] = trace
    asked = declined = 0
    for family in families.values():
        call = family["single"].gold.calls[0]
        if "decline" in family:
            declined += 1
            assert call.name not in {t.name for t in family["decline"].tools}
            assert family["decline"].messages == family["single"].messages
            assert family["decline"].gold.text.startswith("DECLINE")
        if "ask" in family:
            asked += 1
            ask = family["ask"]
            (name,) = ask.gold.facts
            assert name in ask.gold.text
            assert ask.gold.text.startswith("ASK ")
            assert ask.tools == family["single"].tools
            spec = WORLDS[level].world.specs[call.name]
            param = spec.by_name[name]
            assert param.required
            absent(level, ask.messages[0].text, call, name)
    assert asked == declined == 40


def absent(level: str, text: str, call: Call, name: str) -> None:
    """The asked-for value, and every cue for it, stand nowhere in the request."""
    world = WORLDS[level].world
    param = world.specs[call.name].by_name[name]
    values = call.arguments[name] if param.many else [call.arguments[name]]
    if level == "micro":
        words = text.split()
        assert str(values[0]) not in words
        assert not {c.split()[0] for c in param.cues} & set(words)
        return
    if param.kind in ("count", "days", "rating", "percent", "amount"):  # other digits may contain these
        assert not any(cue.replace("{}", str(v)) in text for cue in param.cues for v in values)
    else:
        assert not any(str(v) in text for v in values)


@pytest.mark.parametrize("split", Toolworld.splits)
def test_the_micro_vocabulary_is_closed(split: str) -> None:
    known = set(vocabulary())
    for trace in islice(WORLDS["micro"].traces(split), 500):
        texts = [trace.messages[0].text, trace.reply, trace.gold.text, *trace.gold.facts]
        texts += [t.description for t in trace.tools]
        for call in trace.gold.calls:
            texts += [str(v) for v in call.arguments.values()]
        names = [n for t in trace.tools for n in (*t.name.replace("_", " _").split(), *t.properties)]
        names += [str(t.returns and t.returns["title"]) for t in trace.tools]
        spoken = {w for text in texts for w in text.split()} | set(names)
        assert spoken <= known, spoken - known
        limit = 32 if split in ("train", "test", "unseen_tool", "unseen_edge") else 40
        assert len(trace.messages[0].text.split()) <= limit + 7  # an `answer` adds a few words to a request
    assert len(known) <= 900


def test_every_micro_word_stands_for_one_thing() -> None:
    said = [w for words, *_ in _VERBS.values() for w in words] + [w for words in _NOUNS.values() for w in words]
    said += [cue for _, cues, _ in _PARAMS.values() for cue in cues] + [str(v) for vs in _POOLS.values() for v in vs]
    assert [w for w, n in Counter(said).items() if n > 1] == []
    shown = [name for _, _, given in _PARAMS.values() for name in given.split()]
    assert [w for w, n in Counter(shown).items() if n > 1] == []
    assert all(w.isalnum() and w == w.lower() for w in said)


@pytest.mark.parametrize("level", LEVELS)
def test_wrong_calls_are_errors(level: str) -> None:
    world = open_world(f"toolworld:{level},seed=0")
    assert world.run is not None
    call = next(t for t in WORLDS[level].traces("train") if t.traits["kind"] == "single").gold.calls[0]
    first = next(iter(call.arguments))
    assert world.run(call.name, call.arguments) == world.run(call.name, dict(reversed(call.arguments.items())))
    for wrong in (
        {k: v for k, v in call.arguments.items() if k != first},
        {**call.arguments, first: True},
        {**call.arguments, first: None},
        {**call.arguments, first: {"a": [1]}},
        {**call.arguments, "nonsense": 1},
    ):
        with pytest.raises(ToolError):
            world.run(call.name, wrong)
    with pytest.raises(ToolError):
        world.run("no_such_tool", {})


def test_integers_are_typed() -> None:
    specs = universe("micro", 0).specs
    name = next(n for n, s in specs.items() if [p.name for p in s.params] == ["seats"] or "seats" in s.by_name)
    good = {p.name: p_value(p.kind) for p in specs[name].params}
    run = universe("micro", 0).run
    assert run(name, {**good, "seats": 4.0}) == run(name, {**good, "seats": 4})
    for wrong in ("4", True, 4.5, 400):
        with pytest.raises(ToolError):
            run(name, {**good, "seats": wrong})


def p_value(kind: str) -> object:
    return _POOLS[kind][0]


def test_some_tools_are_really_computed() -> None:
    run = universe("full", 0).run
    assert run("compute_total", {"unit_price": 12.5, "quantity": 4}) == {"total": 50}
    assert run("split_amount", {"amount": 10, "people": 4}) == {"share": 2.5}
    assert run("shift_date", {"date": "2026-02-27", "days": 2}) == {"new_date": "2026-03-01"}
    assert run("count_days_between", {"start_date": "2026-03-01", "end_date": "2026-02-01"}) == {"days": 28}
    assert run("pick_lowest_price", {"prices": [3, 2.5]}) == {"lowest": 2.5}
    hotel = run("search_hotel", {"city": "Paris"})
    known = run("get_hotel_details", {"hotel_id": hotel["hotel_id"]})
    assert (known["city"], known["price"]) == ("Paris", hotel["price"])
    booked = {"hotel_id": hotel["hotel_id"], "date": "2026-05-01", "guest_name": "Ana Silva", "nights": 3}
    assert run("book_hotel", booked)["total_price"] == pytest.approx(3 * hotel["price"])
    with pytest.raises(ToolError):
        run("shift_date", {"date": "2026-02-30", "days": 2})


@pytest.mark.parametrize("level", LEVELS)
def test_half_of_the_distractors_are_near(level: str) -> None:
    near = total = 0
    specs = WORLDS[level].world.specs
    for trace in islice(WORLDS[level].traces("train"), 400):
        gold = [specs[c.name] for c in trace.gold.calls]
        for tool in trace.tools if gold else ():
            if all(tool.name != g.tool.name for g in gold):
                total += 1
                near += any(g.verb == specs[tool.name].verb or g.noun == specs[tool.name].noun for g in gold)
    assert 0.35 < near / total < 0.65


def test_every_parameter_can_be_asked_for_and_every_reference_said() -> None:
    for seed in range(3):
        for spec in universe("full", seed).specs.values():
            assert "{" not in spec.tool.description
            slots = {n for o in spec.openers for n in spec.by_name if f"{{{n}}}" in o}
            for param in spec.params:
                assert param.question or not param.required, (spec.tool.name, param.name)
                assert bool(param.cues) != (param.name in slots), (spec.tool.name, param.name)
                assert bool(param.vague) == (param.name in slots), (spec.tool.name, param.name)
            assert all(ref.count("that ") == 1 for f in spec.fields for ref in f.refs if "that " in ref)
            assert all("that " in ref or ref.startswith("that") for f in spec.fields for ref in f.refs)


def test_a_micro_tool_has_another_signature_in_every_world() -> None:
    """Without that a model need not read the tools: 97 % of the names were right with none shown."""
    signatures = set()
    for seed in range(12):
        spec = next(s for s in Toolworld(f"micro,seed={seed}").world.specs.values() if s.known_as == "book_hotel")
        signatures.add((spec.tool.name, tuple(spec.by_name)))
    assert {name for name, _ in signatures} == {"book_hotel", "book_inn", "book_lodge"}
    assert len({params for _, params in signatures}) > 8


def test_traces_of_many_worlds_are_those_of_each() -> None:
    many = Toolworld("micro,seed=5,worlds=3")
    assert many.trace("train", 7) == Toolworld("micro,seed=6").trace("train", 2)
    assert many.trace("train", 6) == Toolworld("micro,seed=5").trace("train", 2)


def test_other_seeds_are_other_worlds() -> None:
    for level in LEVELS:
        one, two = Toolworld(f"{level},seed=1,tools=6"), Toolworld(f"{level},seed=2")
        known = "search_hotel" if level == "full" else "find_hotel"
        hotels = [next(s for s in source.world.specs.values() if s.known_as == known) for source in (one, two)]
        assert one.world.seen_tool(hotels[0].tool.name) == two.world.seen_tool(hotels[1].tool.name)
        assert one.catalogue.tools != two.catalogue.tools
        assert len(one.trace("train", 0).tools) == 6
        for split in Toolworld.splits:
            assert one.trace(split, 3) != two.trace(split, 3)
    assert read_catalogue("toolworld").spec == "toolworld:full,seed=0"


@pytest.mark.parametrize("rest", ["mini", "micro,sed=1", "micro,seed=x", "micro,tools=0", "full,tools"])
def test_bad_options_are_named(rest: str) -> None:
    with pytest.raises(CallgrainError):
        plugin(rest)


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(UnknownName, match="unseen_tool"):
        WORLDS["micro"].trace("unseen", 0)
