"""Retrieval: rankings by hand, figures against counting, and the probe on planted models through real runs."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from math import log2
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
from benchmarks import _plants_retrieval as plants
from benchmarks._planting import Planted, cut, diagnosed, pick, questions
from benchmarks._retrieval_data import read

from callgrain.core import plugins
from callgrain.core.errors import MissingExtra
from callgrain.core.protocols import Retriever
from callgrain.core.types import Answer, Call, Message, Origin, Prompt, Reading, Sample, Tool
from callgrain.panels.retrieval import Retrieval as Panel
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings
from callgrain.probes._graded import Graded
from callgrain.probes._retrieval_figures import Standing, by_chance, expected, mean_share, sizes, standing
from callgrain.probes._retrieval_library import Library, others, shown
from callgrain.probes.retrieval import SHOWN, Retrieval
from callgrain.retrievers import _encoder
from callgrain.retrievers._documents import document, spoken, terms
from callgrain.retrievers._ranking import best, reciprocal
from callgrain.retrievers.bm25 import BM25

SOURCE = "toolworld:open"

needs_dense = pytest.mark.skipif(not _encoder.is_installed(), reason="the extra dense is not installed")


@pytest.fixture(autouse=True)
def bm25_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder is left out wherever it is not what is tested: it takes seconds."""
    if not any("dense" in str(mark.kwargs.get("reason")) for mark in request.node.iter_markers("skipif")):
        monkeypatch.setattr(_encoder, "WEIGHTS", "no_such_package_of_weights")


def tool(name: str, about: str = "", **parameters: str) -> Tool:
    fields = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    return Tool(name=name, description=about, parameters={"type": "object", "properties": fields})


def asking(text: str, tools: Sequence[Tool], *names: str, subtask: str = "names") -> Sample:
    return Sample(
        subtask=subtask,
        prompt=Prompt(messages=(Message(role="user", text=text),), tools=tuple(tools)),
        answer=Answer(calls=tuple(Call(name=name) for name in names)),
        origin=Origin(dataset="d", row=text, licence="x"),
    )


# rankings -----------------------------------------------------------------------------------------


def test_a_document_holds_name_words_description_and_parameters_of_two_levels() -> None:
    deep = {"type": "object", "properties": {"zip": {"description": "postal code"}, "x": {"properties": {"no": {}}}}}
    one = Tool(name="getHTTPStatus_v2", description="Looks.", parameters={"properties": {"homeAddress": deep, "b": 3}})
    text = document(one)
    assert text == "get HTTP Status v 2. Looks.. home Address. zip: postal code. x. b"
    assert spoken("a.b-c_dE") == "a b c d E"
    assert document(Tool(name="")) == ""


def test_terms_are_stems_without_stop_words_and_a_camel_counts_whole_and_in_parts() -> None:
    assert terms("Booking the flights") == ["book", "flight"]
    assert terms("GitHub") == ["git", "hub", "github"]
    assert set(terms("github")) <= set(terms("GitHub"))
    assert terms("the of and ... !?") == []
    assert len(terms("x" * 10**6)[0]) <= 64


def test_bm25_finds_by_name_and_by_parameter_and_leaves_out_what_shares_no_word() -> None:
    made = BM25([tool("get_weather", "Forecasts."), tool("book", origin="airport of departure"), tool("zip_files")])
    ranked = made.rank(["weather forecast for Rome", "from which airport?", "colourless green ideas", "", "the"], 3)
    assert [[place for place, _ in one] for one in ranked] == [[0], [1], [], [], []]


def test_equal_scores_go_by_place_and_k_is_an_upper_bound() -> None:
    made = BM25([tool(f"send_mail_{i}", "Sends mail.") for i in range(9)])
    for k in (0, 1, 4, 9, 50):
        assert [place for place, _ in made.rank(["send mail"], k)[0]] == list(range(min(k, 9)))


def test_nothing_to_search_is_no_error() -> None:
    for tools in ((), (Tool(name=""),), (Tool(name="the"),)):
        assert BM25(tools).rank(["anything", ""], 5) == [[], []]


def test_odd_schemas_are_read_past() -> None:
    odd = [{"properties": 5}, {"properties": {"a": None, "b": {"description": 7, "properties": []}}}, {"items": []}]
    assert BM25([Tool(name="word", parameters=one) for one in odd]).rank(["word"], 3)[0][0][0] == 0


def test_reciprocal_ranks_by_hand() -> None:
    fused = reciprocal([[(7, 9.0), (1, 8.0)], [(1, 0.3), (2, 0.2)]], 5, 60)
    assert [place for place, _ in fused] == [1, 7, 2]
    assert fused[0][1] == pytest.approx(1 / 62 + 1 / 61)
    assert reciprocal([[(3, 1.0)], [(2, 1.0)]], 1, 60)[0][0] == 2


def test_best_is_stable() -> None:
    import numpy as np

    assert [place for place, _ in best(np.array([1.0, 3.0, 3.0, 2.0]), 3)] == [1, 2, 3]


def test_without_the_extra_dense_says_what_to_install() -> None:
    _encoder.encoder.cache_clear()
    for name in ("dense", "fused"):
        with pytest.raises(MissingExtra, match=r"callgrain\[dense\]"):
            plugins.load("retrievers", name)([tool("a")])
    found = diagnosed(Retrieval(), "retrieval", cut(SOURCE, ["names"], 12), Planted(lambda _: 1.0))
    assert {r.by["retriever"]: r.value for r in found if r.name == "ran"} == {"bm25": 1.0, "dense": None, "fused": None}
    assert "Did not run" in str(Panel().draw(found))


@needs_dense
def test_the_probe_reads_every_retriever_that_is_installed() -> None:
    pool = cut(SOURCE, ["names"], 12)
    found = Retrieval().read([Graded(s, *_right(s), trace=t) for t, s in pool.rows])
    assert {r.by["retriever"]: r.value for r in found if r.name == "ran"} == {"bm25": 1.0, "dense": 1.0, "fused": 1.0}
    values = {
        str(r.by["retriever"]): r.value or 0
        for r in found
        if (r.name, r.by.get("k"), r.by.get("size")) == ("recall", 10, 16)
    }
    assert min(values["dense"], values["fused"]) > values["random"]
    page = str(Panel().draw(found))
    assert "Did not run" not in page
    assert "fused" in page


@needs_dense
def test_dense_finds_by_meaning_what_bm25_cannot() -> None:
    tools = [tool("get_weather", "Weather forecast."), tool("book_flight", "Books a flight."), tool("zip_files")]
    request = ["I want to go to Paris by plane", "will it rain tomorrow", " "]
    assert BM25(tools).rank(request[:1], 3) == [[]]
    for name in ("dense", "fused"):
        made: Retriever = plugins.load("retrievers", name)(tools)
        ranked = made.rank(request, 2)
        assert [one[0][0] if one else None for one in ranked] == [1, 0, None]
        assert made.rank([], 3) == []
        assert plugins.load("retrievers", name)([]).rank(["x"], 3) == [[]]


@needs_dense
def test_vectors_are_of_length_one_and_do_not_hang_on_what_is_encoded_beside_them() -> None:
    import numpy as np

    alone = _encoder.encoder().encode(["Books a flight."])
    beside = _encoder.encoder().encode(["a long one " * 400, "Books a flight.", "x"])
    assert np.allclose(np.linalg.norm(beside, axis=1), 1, atol=1e-5)
    assert np.allclose(alone[0], beside[1], atol=1e-5)
    known = plugins.load("retrievers", "dense")([tool("a"), tool("b")]).vectors
    again = plugins.load("retrievers", "dense")([tool("a"), tool("b")], {k: v * 0 for k, v in known.items()})
    assert again.rank(["a"], 1)[0][0] == (0, 0.0)  # the given vectors were taken


# figures ------------------------------------------------------------------------------------------


def test_expected_figures_are_those_of_counting_every_smaller_catalogue() -> None:
    ranked, gold, population, size, ks = [4, 0, 6, 2, 5, 1, 3], (0, 5), 7, 5, (1, 2, 3, 4)
    found = expected(standing(ranked, gold), population, size, ks)
    counted: dict[int, list[tuple[float, float, float]]] = {k: [] for k in ks}
    for part in combinations(set(range(population)) - set(gold), size - len(gold)):
        order = [place for place in ranked if place in (*part, *gold)]
        for k in ks:
            hits = [place in gold for place in order[:k]]
            ideal = sum(1 / log2(i + 2) for i in range(min(k, len(gold))))
            gain = sum(hit / log2(i + 2) for i, hit in enumerate(hits))
            counted[k].append((sum(hits) / 2, float(sum(hits) == 2), gain / ideal))
    for k in ks:
        assert found[k] == pytest.approx([fmean(column) for column in zip(*counted[k], strict=True)])


def test_chance_is_the_mean_over_every_order() -> None:
    for n_gold, size, k in ((2, 6, 3), (3, 6, 2), (1, 5, 5)):
        orders = [
            expected(standing([*range(size)], gold), size, size, (k,))[k] for gold in combinations(range(size), n_gold)
        ]
        assert by_chance(n_gold, size, k) == pytest.approx([fmean(column) for column in zip(*orders, strict=True)])


def test_a_gold_tool_that_is_not_ranked_is_never_found() -> None:
    one = standing([3, 1], (1, 9))
    assert one == Standing((1,), 2)
    assert expected(one, 50, 50, (10,))[10][:2] == (0.5, 0.0)
    assert expected(standing([], (1,)), 50, 20, (10,))[10] == (0, 0, 0)
    with pytest.raises(ValueError, match="cannot hold"):
        expected(one, 50, 1, (1,))


def test_smaller_catalogues_are_never_harder() -> None:
    rng = Random(0)
    for _ in range(30):
        ranked = rng.sample(range(300), 300)
        one = standing(ranked, rng.sample(range(300), rng.randint(1, 4)))
        rows = [expected(one, 300, size, (5,))[5] for size in (16, 50, 150, 300)]
        for small, large in pairwise(rows):
            assert all(a >= b - 1e-9 for a, b in zip(small, large, strict=True))


def test_sizes_are_geometric_and_end_with_the_whole() -> None:
    assert sizes(15, 16) == []
    assert sizes(16, 16) == [16]
    assert sizes(160, 16) == [16, 32, 64, 128, 160]
    for population in (17, 300, 2_500, 16_175, 10**6):
        found = sizes(population, 16)
        assert len(found) <= 6
        assert found == sorted(set(found))
        assert (found[0], found[-1]) == (16, population)


def test_the_interval_of_a_mean_holds_the_mean_and_is_wilson_for_zeros_and_ones() -> None:
    from callgrain.core import stats

    assert mean_share([]) == (None, None, None)
    assert mean_share([1, 0, 1]) == stats.share(2, 3)
    value, low, high = mean_share([0.999] * 40)
    assert low is not None
    assert high is not None
    assert low < 0.999 <= high <= 1
    assert value == pytest.approx(0.999)


# the library --------------------------------------------------------------------------------------


def test_copies_count_once_and_any_copy_is_found() -> None:
    a, b = tool("a", "One."), tool("b", "Two.")
    copy = Tool(name="a", description="One.", parameters={"type": "object"})
    library = Library.of([("t", asking("x", [a, b], "b")), ("u", asking("y", [copy], "a"))])
    assert [t.name for t in library.tools] == ["a", "b"]
    assert [one.gold for one in library.wanted] == [(1,), (0,)]


def test_one_sample_stands_for_a_trace_and_what_is_no_one_set_is_left_out() -> None:
    a, b = tool("a"), tool("b")
    full, names = (asking("x", [a, b], "a", "b", subtask=name) for name in ("full", "names"))
    either = asking("y", [a, b], "a")
    either = either.model_copy(
        update={"answer": either.answer.model_copy(update={"instead": (Answer(calls=(Call(name="b"),)),)})}
    )
    rows = [
        ("t", names), ("t", full), ("t", asking("x", [a], "a", subtask="slots")), ("u", either),
        ("v", asking("z", [a], "b")), ("w", asking("", [a], "a")), ("x", asking("q", [a])),
    ]  # fmt: skip
    assert [one.sample for one in Library.of(rows).wanted] == [full]


def test_prompts_hold_k_tools_of_distinct_names_in_an_order_that_says_nothing() -> None:
    tools = [tool("a", "one"), tool("a", "two"), *(tool(f"t{i}") for i in range(30))]
    library = Library.of([("t", asking("x", tools, "a")), ("u", asking("y", [tools[0]], "a"))])
    one = library.wanted[1]
    rest = others(library, one, 0)
    assert all(library.tools[place].name != "a" for place in rest)
    assert len(rest) == 30
    gold, found = (shown(library, places, 5, rest, "key") for places in ((0,), (1, 0, 4)))
    assert len({t.name for t in gold}) == len(gold) == len(found) == 5
    both = [t.name for t in gold if t in found]
    assert both == [t.name for t in found if t in gold]
    firsts = {shown(library, one.gold, 5, rest, str(key))[0].name == "a" for key in range(40)}
    assert firsts == {True, False}


# the probe ----------------------------------------------------------------------------------------


def run(folder: Path, model: Planted, n: int = 40) -> list[Reading]:
    recipe = DiagnoseRecipe(model="scripted:good=1", source=SOURCE, subtask="names,full", probe="retrieval", n=n)
    return readings(diagnose(recipe, folder, model=model))


def test_the_loss_of_a_model_that_needs_the_tools_is_what_was_not_found(tmp_path: Path) -> None:
    model = Planted(plants.seen)
    found = run(tmp_path, model)
    losses = [r for r in found if r.name == "loss"]
    assert len(losses) == 2
    for row in losses:
        whole = pick(found, "whole", size=row.by["size"])
        assert whole is not None
        assert whole.value is not None
        assert row.value == pytest.approx(1 - whole.value)
        assert pick(found, "confused", size=row.by["size"]).value == 0  # type: ignore[union-attr]
        assert pick(found, "unseen", size=row.by["size"]).value == 0  # type: ignore[union-attr]
    assert max(r.value or 0 for r in losses) > 0.3
    assert all(r.by["shown"] == ((r.low or 0) > 0) for r in losses)
    assert found == run(tmp_path, model)  # a finished run, and one that is cut off and taken up again
    (folder,) = (tmp_path / "diagnose").iterdir()
    for name in ("done.json", "readings.jsonl"):
        (folder / name).unlink()
    replies = folder / "replies.jsonl"
    replies.write_text("".join(replies.read_text().splitlines(keepends=True)[:90]))
    again = [r for r in run(tmp_path, model) if r.probe == "retrieval"]
    assert again == [r for r in found if r.probe == "retrieval"]
    page = str(Panel().draw(found))
    assert "would be worth" in page
    assert "<script" not in page


def test_a_model_that_knows_the_tools_by_heart_loses_nothing_and_is_found_out() -> None:
    found = diagnosed(Retrieval(), "retrieval", cut(SOURCE, ["full"], 40), Planted(lambda _: 1.0))
    assert all(r.value == 0 and r.by["shown"] is False for r in found if r.name == "loss")
    assert all(r.value == 1 for r in found if r.name == "unseen")
    assert "No loss is shown" in str(Panel().draw(found))


def test_a_model_without_skill_has_nothing_to_lose() -> None:
    found = diagnosed(Retrieval(), "retrieval", cut(SOURCE, ["full"], 30), Planted(lambda _: 0.0))
    assert "nothing right either" in str(Panel().draw(found))


def test_recall_grows_with_k_falls_with_size_and_stands_beside_chance() -> None:
    pool = cut(SOURCE, ["names"], 60)
    found = Retrieval().read([Graded(s, *_right(s), trace=t) for t, s in pool.rows])
    for metric in ("recall", "complete"):
        rows = {(r.by["retriever"], r.by["k"], r.by["size"]): r.value or 0.0 for r in found if r.name == metric}
        for (name, k, size), value in rows.items():
            assert all(value <= rows[name, more, size] + 1e-9 for more in (3, 5, 10) if more > k)
            assert all(value >= rows[name, k, s] - 1e-9 for n, _, s in rows if n == name and s > size)
            assert name == "random" or k < 3 or value > rows["random", k, size]
    n = len(Library.of(pool.rows).tools)
    chance = pick(found, "recall", retriever="random", k=5, size=n)
    assert chance is not None
    assert chance.value == pytest.approx(5 / n)


def _right(sample: Sample):
    from callgrain.core.types import Reply, Verdict

    return Reply(text="-", message=Message(text="-")), Verdict()


def test_prompts_are_bounded_paired_and_the_same_for_the_same_seed() -> None:
    pool = cut(SOURCE, ["names", "full"], 120)
    asked = [s for probe, _, s in questions(Retrieval(), "retrieval", pool) if probe == "retrieval"]
    assert [s.key for s in asked] == [s.key for _, _, s in questions(Retrieval(), "retrieval", pool)[len(pool) :]]
    assert len(asked) == 180
    assert len({s.key for s in asked}) == 180
    assert all(len(s.prompt.tools) == SHOWN for s in asked)
    for s in asked:
        holds = {c.name for c in s.answer.calls} <= {t.name for t in s.prompt.tools}
        assert holds == s.traits["retrieval_whole"]
        assert holds or s.traits["retrieval_arm"] == "retrieved"


@pytest.mark.parametrize("subtask", ["slots", "response", "decide", "names"])
def test_where_nothing_can_be_made_nothing_is_read(subtask: str) -> None:
    pool = cut("toolworld:full", [subtask], 2)
    found = diagnosed(Retrieval(), "retrieval", pool, Planted(lambda _: 1.0))
    assert found == []
    assert Panel().draw(found) is None
    assert Retrieval().read([]) == []


def test_hostile_tools_stay_inert() -> None:
    bad = "</script><script>alert(1)</script>\u202e"
    tools = [tool(f"{bad}{i}", bad, **{bad: bad}) for i in range(20)]
    pool = cut("toolworld:full", ["names"], 1)
    rows = tuple((f"t{i}", asking(f"{bad} {i}", tools, tools[i].name)) for i in range(10))
    pool = type(pool)(rows)
    found = diagnosed(Retrieval(), "retrieval", pool, Planted(plants.seen))
    odd = [r.model_copy(update={"by": {**r.by, **({"retriever": bad} if "retriever" in r.by else {})}}) for r in found]
    for page in (str(Panel().draw(found)), str(Panel().draw(odd))):
        assert "<script" not in page
        assert "\u202e" not in page


@pytest.mark.slow
def test_published_requests_are_found_far_above_chance(shared_data: Path) -> None:
    tools, sets = read(shared_data, 60, 1_000)
    assert len(tools) >= 900
    made = BM25(tools)
    for asked in sets:
        assert len(asked.requests) == len(asked.gold) > 50
        ranked = made.rank(asked.requests, len(tools))
        stands = [standing([p for p, _ in one], gold) for one, gold in zip(ranked, asked.gold, strict=True)]
        recall = fmean(expected(one, len(tools), len(tools), (10,))[10][0] for one in stands)
        assert recall > 0.4
        small = fmean(expected(one, len(tools), 100, (10,))[10][0] for one in stands)
        assert small > recall
