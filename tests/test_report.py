"""The report room: figures by hand, every number with its interval, hostile content inert."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from math import sqrt
from random import Random

import pytest
from rich.console import Console

from callgrain.core.errors import BadInput
from callgrain.core.stats import Z, paired_difference, share
from callgrain.core.store import Run
from callgrain.core.types import Answer, Call, Fault, Message, Origin, Prompt, Reading, Reply, Sample, Tool, Verdict
from callgrain.panels._words import inert
from callgrain.report import _calls, tables
from callgrain.report.compare import compare, word
from callgrain.report.html import write_page

EVIL = "<script>alert(1)</script>\x1b[31mLONE\u202e"
"""`LONE` becomes a lone surrogate on disk: the nouns refuse one, but a file may hold it."""
URL = "https://evil.example/x.js"
VOID = {"meta", "br", "col", "circle", "line", "rect", "polyline", "link", "img", "input"}


def _sample(subtask: str, i: int) -> Sample:
    return Sample(
        subtask=subtask,
        prompt=Prompt(
            messages=(Message(role="system", text=EVIL), Message(role="user", text=f"Weather in Ghent? {i} {EVIL}")),
            tools=(
                Tool(name=f"weather{EVIL}", description=f'"><img src={URL}>', parameters={"properties": {EVIL: {}}}),
            ),
        ),
        answer=Answer(calls=(Call(name="weather", arguments={"city": "Ghent", "day": i}),)),
        traits={"depth": i % 3, EVIL: "a"},
        origin=Origin(dataset="made", row=f"{subtask}{i}", licence="Apache-2.0"),
    )


def make_run(root, name, rights, *, source="toolworld", seed=0, n=30, more=()) -> Run:
    """A real run folder: of sub-task s the first `rights[s]` of `n` items are right."""
    run = Run.open(
        root, "diagnose", name, {"model": f"m-{name}{EVIL[:25]}", "source": source, "seed": seed, "n": n}, {}
    )
    rows: dict[str, list] = {"samples": [], "replies": [], "verdicts": []}
    readings: list[Reading] = []
    for rank, (subtask, right) in enumerate(sorted(rights.items(), key=lambda p: p[1]), 1):
        for i in range(n):
            sample = _sample(subtask, i + 1000 * seed)
            day = i + 1000 * seed
            given = Call(name="weather", arguments={"city": "Ghent", "day": day if i < right else EVIL})
            faults = (
                ()
                if i < right
                else (Fault(kind="wrong_value", where="calls.0.arguments.day", expected=day, given=EVIL),)
            )
            verdict = Verdict(faults=faults, score=0.0 if faults else 1.0)
            reply = Reply(text="t", message=Message(calls=(given,)))
            rows["samples"].append({"key": sample.key, "trace": sample.key, "sample": sample.model_dump()})
            rows["replies"].append({"key": sample.key, "reply": reply.model_dump()})
            rows["verdicts"].append(
                {"key": sample.key, "subtask": subtask, "verdict": verdict.model_dump(), "ok": verdict.ok, "traits": {}}
            )
        readings += _readings(subtask, right, n, rank)
    wrong = sum(n - right for right in rights.values())
    readings.append(_reading("fault", "wrong_value", share(wrong, n * len(rights)), n * len(rights)))
    readings.append(_reading("fault", "wrong_tool", share(0, n * len(rights)), n * len(rights)))
    readings.append(_reading("fault", EVIL, share(2, 9), 9))
    readings.append(Reading(probe="count", name="grader_error", value=4.0, n=4))
    readings += more
    for kind, lines in rows.items():
        with run.journal(kind) as journal:
            journal.append(map(_damaged, lines))
    run.replace_rows("readings", (_damaged(reading.model_dump()) for reading in readings))
    run.finish({})
    run.close()
    return run


def _damaged(row):
    return json.loads(json.dumps(row).replace("LONE", "\\udc80"))


def _reading(probe, name, interval, n, **by) -> Reading:
    return Reading(probe=probe, name=name, value=interval[0], low=interval[1], high=interval[2], n=n, by=by)


def _readings(subtask, right, n, rank) -> list[Reading]:
    rng = Random(rank)
    found = [
        _reading("subtask", "ok", share(right, n), n, subtask=subtask),
        _reading("subtask", "pair_f1", (0.5123, 0.4, 0.6), n, subtask=subtask),
        _reading("control", "random", share(1, n), n, subtask=subtask),
        _reading("control", "lexical", share(min(3, n), n), n, subtask=subtask),
        _reading(
            "control",
            "margin",
            (right / n - 0.1, right / n - 0.3, right / n + 0.1),
            n,
            subtask=subtask,
            control="lexical",
        ),
        _reading("weakness", "rank", (float(rank), None, None), n, subtask=subtask, accused=rank == 1),
        _reading("fault", "wrong_value", share(n - right, n), n, subtask=subtask),
    ]
    for trait, values in (("depth", (2, 10, 1)), ("disguise", ("none", EVIL))):
        found += [
            _reading("subtask", "ok", share(rng.randrange(11), 10), 10, subtask=subtask, **{trait: v}) for v in values
        ]
    return found


def card_readings(*graders) -> list[Reading]:
    """A card: the first grader is perfect, every next one misses more; the kinds are hostile."""
    found = []
    for at, grader in enumerate(graders):
        for name, kinds, hits in (
            ("kill_rate", ("sign_flip", EVIL, "all"), 40 - 4 * at),
            ("own_class", ("sign_flip", EVIL, "all"), 38 - 4 * at),
            ("false_reject", ("key_order", f"{EVIL} too", "all"), 3 * at),
        ):
            found += [
                _reading("grader", name, share(hits, n), n, grader=grader, kind=k)
                for k, n in zip(kinds, (40, 41, 81), strict=True)
            ]
        for name, count in (("not_applicable", 7 * at), ("error", 0)):
            found.append(
                Reading(probe="grader", name=name, value=float(count), n=160 + at, by={"grader": grader, "kind": "all"})
            )
    return found


def form_readings(right: int, broken: int = 30, n: int = 90) -> list[Reading]:
    """Of `n` replies `broken` are, `right` of them right but for their form; most are in fences."""
    found = [_reading("form", "broken", share(0, 30), 30, subtask="names")]
    for many, by in ((n - 30, {"subtask": EVIL}), (n, {})):
        found += [
            _reading("form", "broken", share(broken, many), many, **by),
            _reading("form", "right_but_for_form", share(right, many), many, **by),
            _reading("form", "near_miss", share(4, broken), broken, near_miss=EVIL, **by),
            _reading("form", "near_miss", share(broken - 4, broken), broken, near_miss="fence", **by),
        ]
    return found


def grade_readings(**by) -> list[Reading]:
    """Two graders on the same replies, one of them with a hostile name."""
    return [
        *(_reading("grade", "ok", share(hits, 50), 50, grader=grader, **by, **more)
          for grader, hits in (("bfcl", 44), (EVIL, 31))
          for more in ({}, {"subtask": "full"}, {"subtask": "full", "category": "multiple"})),
        _reading("grade", "agreement", share(37, 50), 50, grader="bfcl", other=EVIL, **by),
    ]  # fmt: skip


@pytest.fixture
def before(tmp_path):
    return make_run(tmp_path, "before", {"nest": 6, "names": 27, "slots": 20})


@pytest.fixture
def after(tmp_path):
    return make_run(tmp_path, "after", {"nest": 24, "names": 15, "slots": 21})


class Page(HTMLParser):
    """Tags, attributes and text of a page; raises where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.marked: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if "mark" in self.open and "sup" not in self.open:
            self.marked.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def _by(readings, name, key) -> Reading:
    return next(r for r in readings if r.name == name and key in r.by.values())


def test_compare_agrees_with_figures_by_hand(before, after):
    readings = compare(before, after)
    nest = _by(readings, "ok_difference", "nest")
    gained, lost = 19 / 32, 1 / 32  # 18 gained and none lost of 30, and Bonett and Price's one to each
    half = Z * sqrt((gained + lost - (gained - lost) ** 2) / 32)
    assert (nest.value, nest.n) == (pytest.approx(0.6), 30)
    assert (nest.low, nest.high) == (pytest.approx(gained - lost - half), pytest.approx(gained - lost + half))
    assert _by(readings, "ok_before", "nest").value == pytest.approx(0.2)
    assert [word(_by(readings, "ok_difference", s)) for s in ("nest", "names", "slots")] == [
        "better",
        "worse",
        "no difference shown",
    ]
    wrong = _by(readings, "fault_difference", "wrong_value")  # 37 wrong of 90 before, 30 after
    assert (wrong.value, wrong.n) == (pytest.approx(-7 / 90), 90)


def test_macro_is_the_mean_with_the_variance_recovered_from_its_parts(before, after):
    readings = compare(before, after)
    parts = [r for r in readings if r.name == "ok_difference"]
    macro = next(r for r in readings if r.name == "macro_difference")
    assert macro.value == pytest.approx((18 - 12 + 1) / 90)
    assert macro.low == pytest.approx(macro.value - sqrt(sum((r.value - r.low) ** 2 for r in parts)) / 3)
    assert macro.high == pytest.approx(macro.value + sqrt(sum((r.high - r.value) ** 2 for r in parts)) / 3)


def test_one_lucky_item_is_no_proof(tmp_path):
    old, new = (make_run(tmp_path, name, {"nest": right}, n=1) for name, right in (("a", 0), ("b", 1)))
    readings = compare(old, new)
    assert {word(r) for r in readings if r.name in ("ok_difference", "macro_difference")} == {"no difference shown"}


def test_a_run_does_not_differ_from_itself(before):
    readings = [r for r in compare(before, before) if r.name.endswith("_difference")]
    assert {r.value for r in readings} == {0.0}
    assert {word(r) for r in readings} == {"no difference shown"}


def test_less_of_a_fault_is_better():
    assert word(Reading(probe="compare", name="fault_difference", value=-0.2, low=-0.3, high=-0.1)) == "better"
    assert word(Reading(probe="compare", name="ok_difference", value=-0.2, low=-0.3, high=-0.1)) == "worse"
    assert word(Reading(probe="compare", name="ok_difference", value=0.2)) == "no difference shown"


def test_unpaired_and_ungraded_items_are_counted(tmp_path):
    old = make_run(tmp_path, "a", {"nest": 5, "names": 4})
    new = make_run(tmp_path, "b", {"nest": 5, "slots": 4}, n=40)
    rows = list(new.rows("verdicts"))
    for row in [r for r in rows if r["subtask"] == "nest"][:7]:
        row["verdict"]["state"] = "grader_error"
    new.replace_rows("verdicts", rows)
    counts = {r.name: r.value for r in compare(old, new) if not r.by}
    assert counts == {"paired": 23.0, "only_before": 30.0, "only_after": 50.0, "not_graded": 7.0}


def test_runs_that_do_not_pair_are_refused_with_what_differs(before, tmp_path):
    other = make_run(tmp_path, "other", {"nest": 3}, source="bfcl:x", seed=2)
    with pytest.raises(BadInput, match=r"source 'toolworld' and 'bfcl:x'; seed 0 and 2") as caught:
        compare(before, other)
    assert "--seed" in caught.value.remedy


def test_a_damaged_verdict_row_is_named_by_place(before):
    rows = list(before.rows("verdicts"))
    del rows[3]["verdict"]
    before.replace_rows("verdicts", rows)
    with pytest.raises(BadInput, match=r"verdicts\.jsonl:4"):
        compare(before, before)


def test_tables_hold_every_reading_in_its_place(before):
    readings = tables.read_readings(before)
    rows = tables.subtask_table(readings)
    assert [(r.subtask, r.rank, r.accused) for r in rows] == [
        ("nest", 1, True),
        ("slots", 2, False),
        ("names", 3, False),
    ]
    assert rows[0].best is not None
    assert rows[0].best.name == "lexical"
    assert [r.subtask for r in tables.weak(rows)] == ["nest"]
    faults = tables.fault_table(readings)
    assert [f.level for f in faults] == ["choice", "arguments", "other"]
    assert [f.kind for f in faults[:2]] == ["wrong_tool", "wrong_value"]
    assert [p.by["subtask"] for p in faults[1].places] == ["nest", "slots", "names"]
    depth = next(p for p in tables.slice_table(readings) if p.name == "depth")
    assert [label for label, _ in depth.rows] == ["1", "2", "10"]
    assert {p.subtask for p in tables.measure_table(readings)} == {"nest", "names", "slots"}


def test_terminal_tables_show_intervals_and_take_nothing_as_markup(before, after):
    out = io.StringIO()
    readings = [*tables.read_readings(after), *compare(before, after)]
    tables.print_tables(readings, Console(file=out, width=200, force_terminal=False))
    shown = out.getvalue()
    assert "80.0 % [62.7, 90.5]" in shown
    assert "no difference shown" in shown
    assert "grader_error 4" in shown
    assert "\x1b" not in shown
    shown.encode()


ROWS = {"readings.jsonl", "samples.jsonl", "replies.jsonl", "probe_verdicts.jsonl"}


def test_page_is_one_inert_file(before, after):
    path = write_page(
        after, before=before, extra={"notes": [EVIL], EVIL: {EVIL: EVIL}, "prescription": [{"subtask": EVIL}]}
    )
    assert path == after.folder / "report.html"
    source = path.read_text(encoding="utf-8")
    page = Page(source)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "img", "link", "iframe", "object", "embed", "base", "form"} & set(names)
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        link = attributes.get("href") or "#"
        assert link.startswith("#") or link in ROWS, "a link leads out of the run folder"
    assert "url(" not in source
    assert "@import" not in source
    assert "<script>alert(1)</script>⟨U+001B⟩[31m⟨U+DC80⟩⟨U+202E⟩" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", source)
    assert ("meta", "default-src 'none'; style-src 'unsafe-inline'") in [(t, a.get("content")) for t, a in page.tags]


def test_page_shows_every_reading_with_its_interval(before):
    page = Page(write_page(before).read_text(encoding="utf-8"))
    for row in tables.read_readings(before):
        if (
            row.probe in ("subtask", "control", "fault")
            and row.name not in ("margin", "pair_f1")
            and row.value is not None
        ):
            if row.probe == "fault" and row.by and row.by["subtask"] != "nest":
                continue  # of a fault's places the page names the worst
            assert f"{row.value * 100:.1f} % [{row.low * 100:.1f}, {row.high * 100:.1f}]" in page.text
    assert "0.512 [0.400, 0.600]" in page.text
    margin = next(r for r in tables.read_readings(before) if r.name == "margin" and r.by["subtask"] == "nest")
    assert f"+{margin.value * 100:.1f} [−{-margin.low * 100:.1f}, +{margin.high * 100:.1f}]" in page.text
    assert "no interval" not in page.text


def test_page_tells_the_finding_the_command_and_what_was_left_out(before):
    page = Page(write_page(before).read_text(encoding="utf-8"))
    assert "nest is the weakest grain: 20.0 % [9.5, 37.3] right." in page.text
    assert "24 of its 30 answers are wrong, and 24 of those go wrong first by wrong_value." in page.text
    assert "It is not shown to beat the best control, lexical" in page.text
    assert "callgrain diagnose --model" in page.text
    assert "grader error 4" in page.text
    assert [tag for tag, _ in page.tags].count("main") == 1
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def test_page_of_two_runs_says_better_worse_and_not_shown(before, after):
    page = Page(write_page(after, before=before).read_text(encoding="utf-8"))
    low, high = paired_difference([True] * 24 + [False] * 6, [True] * 6 + [False] * 24)[1:]
    assert f"nest rose by +60.0 [+{low * 100:.1f}, +{high * 100:.1f}] points." in page.text
    assert "1 of 3 sub-tasks got better, 1 worse, and for 1 no difference is shown" in page.text
    assert "90 items paired; 0 only in the run before" in page.text


def test_page_marks_exactly_the_argument_at_fault(before):
    page = Page(write_page(before).read_text(encoding="utf-8"))
    assert page.marked
    assert "".join(page.marked[:2]).startswith("day=")
    assert not [text for text in page.marked if "Ghent" in text or "city" in text]


@pytest.mark.parametrize(
    ("fault", "marked"),
    [
        (Fault(kind="wrong_tool", where="calls.1.name"), ["book"]),
        (Fault(kind="wrong_value", where="calls.1.arguments.a.b"), ["a.b=", "3"]),
        (Fault(kind="wrong_value", where="calls.1.arguments.at.0.x"), ['"x": ', "[7, 8]"]),
        (Fault(kind="missing_argument", where="calls.0.arguments.day"), ["day missing"]),
        (Fault(kind="missing_call", where="calls.0"), ["a call is missing"]),
        (Fault(kind="extra_call", where="calls.0"), ["find", "(", "city=", '"Ghent"', ")"]),
        (Fault(kind="wrong_value", where="calls.9.arguments.x"), ["nothing at calls.9.arguments.x"]),
        (Fault(kind="unfaithful_response", where="text"), ["Done."]),
    ],
)
def test_each_kind_of_path_is_marked(fault, marked):
    calls = (
        Call(name="find", arguments={"city": "Ghent"}),
        Call(name="book", arguments={"a.b": 3, "at": [{"x": [7, 8]}]}),
    )
    page = Page(str(_calls.given(calls, "Done.", [fault])))
    assert "".join(page.marked) == "".join(marked)


def test_whole_reply_and_missing_call_on_the_right_side():
    calls = (Call(name="find"), Call(name="book"))
    assert "find" in "".join(Page(str(_calls.given(calls, "", [Fault(kind="needless_call")]))).marked)
    assert "".join(Page(str(_calls.expected(calls, [Fault(kind="missing_call", where="calls.1")]))).marked) == "book()"


def test_deep_values_do_not_break_the_page():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    shown = _calls.given(
        [Call.model_construct(name="f", arguments={"x": deep}, label=None)],
        "",
        [Fault(kind="wrong_value", where="calls.0.arguments.x")],
    )
    assert "mark" in shown


def test_a_run_without_readings_still_has_a_page(tmp_path):
    run = Run.open(tmp_path, "diagnose", "empty", {"model": "m"}, {})
    run.finish({})
    assert "Nothing could be graded." in write_page(run).read_text(encoding="utf-8")


def test_inert_keeps_ordinary_text_and_spells_out_what_acts():
    assert inert("Zürich 東京\n\t😀") == "Zürich 東京\n\t😀"
    assert inert("a\x00\u2028\ud800\x9b") == "a⟨U+0000⟩⟨U+2028⟩⟨U+D800⟩⟨U+009B⟩"


PANELS = {"grader", "form", "graders"}


def _page(tmp_path, readings, rights=None) -> Page:
    """The page of a run with these readings beside its scores, or of them alone where there are no scores."""
    run = make_run(tmp_path, "panels", {"nest": 6, "names": 27} if rights is None else rights, more=readings)
    return Page(write_page(run).read_text(encoding="utf-8"))


def _sections(page: Page) -> set[str | None]:
    return {attributes.get("id") for tag, attributes in page.tags if tag == "section"}


def _shown(row: Reading) -> str:
    return f"{row.value * 100:.1f} % [{row.low * 100:.1f}, {row.high * 100:.1f}]"


@pytest.mark.parametrize(
    ("readings", "there"),
    [
        ([], set()),
        (card_readings("strict"), {"grader"}),
        (form_readings(20), {"form"}),
        (grade_readings(), {"graders"}),
        ([*card_readings("strict", "bfcl"), *form_readings(0), *grade_readings(file="a.jsonl", overlay="o@1")], PANELS),
    ],
)
def test_a_panel_is_there_with_its_readings_every_one_with_its_interval(tmp_path, readings, there):
    page = _page(tmp_path, readings)
    assert _sections(page) & PANELS == there
    links = {str(attributes.get("href"))[1:] for tag, attributes in page.tags if tag == "a"}
    assert links & PANELS == there
    for row in readings:
        hidden = row.by.keys() == {"subtask", "near_miss"} or (row.probe == "grade" and row.by.keys() >= {"subtask"})
        if row.low is not None and not hidden:
            assert _shown(row) in page.text
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def test_hostile_names_in_the_panels_stay_text(tmp_path):
    page = _page(tmp_path, [*card_readings("strict", EVIL), *form_readings(20), *grade_readings(file=EVIL)])
    source = (tmp_path / "diagnose").glob("*/report.html")
    assert not {"script", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", next(source).read_text(encoding="utf-8"))
    assert "near to nothing known" in page.text
    assert page.text.count("<script>alert(1)</script>⟨U+001B⟩[31m⟨U+DC80⟩⟨U+202E⟩") > 10


def test_the_grader_of_the_scores_speaks_beside_them(tmp_path):
    flagged, refused = share(40, 81), share(0, 81)
    page = _page(tmp_path, card_readings("strict"))
    told = "The grader of these scores, strict, flags {} of 81 wrong replies made on purpose and refuses {} of 81 right"
    rows = [_reading("grader", "x", interval, 81) for interval in (flagged, refused)]
    assert told.format(*map(_shown, rows)) in page.text
    assert "Every reply was judged: not applicable 0, error 0." in page.text


def test_another_grader_than_that_of_the_scores_is_not_passed_off_for_it(tmp_path):
    page = _page(tmp_path, [*grade_readings(), *card_readings("strict")])
    assert "strict, which is not the grader of these scores (bfcl is), flags" in page.text
    assert "The grader of these scores" not in page.text


def test_where_a_grader_falls_short_is_marked_and_open(tmp_path):
    def cells(page):
        return [a.get("data-of") for tag, a in page.tags if tag == "td" and a.get("class") == "amiss"]

    perfect = [r.model_copy(update={"value": 1.0 if r.name == "kill_rate" else r.value}) for r in card_readings("a")]
    page = _page(tmp_path / "1", perfect)
    assert cells(page) == []
    assert page.text.count("By kind") == 2
    page = _page(tmp_path / "2", [*perfect, *card_readings("a", "b")[len(perfect) :]])
    assert set(cells(page)) == {"b"}
    assert len(cells(page)) == 6
    assert "b could not judge 7 of 161 replies: they are in no share." in page.text


@pytest.mark.parametrize(("right", "said"), [(20, True), (9, True), (8, False), (0, False)])
def test_the_finding_speaks_of_form_only_where_its_interval_clears_five_percent(tmp_path, right, said):
    assert (share(right, 90)[1] > 0.05) is said
    page = _page(tmp_path, form_readings(right))
    assert ("Form alone costs" in page.text) is said
    assert ("training negatives of its commonest near-miss, fence, mends it" in page.text) is said


def test_replies_that_could_all_be_read_need_one_line(tmp_path):
    whole = [_reading("form", "broken", share(0, 60), 60), _reading("form", "broken", share(0, 60), 60, subtask="nest")]
    page = _page(tmp_path, whole)
    assert f"Every reply could be read: {_shown(whole[0])} broken, n 60." in page.text
    assert "right but for form" not in page.text


def test_a_card_and_files_side_by_side_have_a_title_without_scores(tmp_path):
    page = _page(tmp_path / "card", card_readings("strict", "bfcl"), {})
    assert "bfcl flags least of what is wrong: 44.4 %" in page.text
    assert "scores" not in _sections(page)
    page = _page(tmp_path / "files", [*grade_readings(file="a.jsonl"), *grade_readings(file="b.jsonl")], {})
    assert "Right by bfcl: a.jsonl 88.0 % [76.2, 94.4] and b.jsonl 88.0 % [76.2, 94.4]." in page.text


def test_the_terminal_shows_the_panels_short_and_inert():
    out = io.StringIO()
    readings = [*card_readings("strict", EVIL), *form_readings(20), *grade_readings(file=EVIL, overlay="none")]
    tables.print_tables(readings, Console(file=out, width=200, force_terminal=False))
    shown = out.getvalue()
    total = next(r for r in readings if r.name == "own_class" and r.by["kind"] == "all")
    line = next(line for line in shown.splitlines() if "named rightly" in line)
    assert line.split()[0] == "strict"
    assert f"{_shown(total)}" in line
    assert "not_applicable, in no share" in shown
    assert next(line for line in shown.splitlines() if "all " in line and "22.2 % [14.9, 31.8]" in line)
    assert "agree 74.0 %" in shown
    assert "golds as published" in shown
    assert "\x1b" not in shown
    assert "sign_flip" not in shown
