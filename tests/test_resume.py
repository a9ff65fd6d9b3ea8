"""A run that failed lets go of its folder: trying again, in the same process too, goes on where it was."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from callgrain.core.errors import BadInput, BrokenModel, CallgrainError, UnknownName
from callgrain.core.store import Run
from callgrain.core.types import Message, Prompt, Reply
from callgrain.corpus.build import BuildRecipe, build
from callgrain.probes._asking import CHUNK
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose
from callgrain.train._recipe import TrainRecipe
from callgrain.train._run import train

LINES = (Path(__file__).parent / "fixtures" / "jsonl" / "two.jsonl").read_text().rstrip("\n").split("\n")
N = CHUNK + 20


class Shaky:
    """Answers every prompt but each tenth, and breaks at the second batch unless it is sound."""

    name = "shaky"

    def __init__(self, *, breaks: bool, misses: bool) -> None:
        self.breaks, self.misses = breaks, misses
        self.batches: list[list[str]] = []

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        self.batches.append([p.key for p in prompts])
        if self.breaks and len(self.batches) == 2:
            raise BrokenModel("the endpoint is gone", "start it again")
        missed = Reply(failure="timeout")
        return [
            missed if self.misses and i % 10 == 0 else Reply(message=Message(text="no")) for i in range(len(prompts))
        ]


def recipe(**more: object) -> DiagnoseRecipe:
    settings = {"model": "shaky", "source": "toolworld:micro", "subtask": "names", "probe": "subtask", "n": N}
    return DiagnoseRecipe.resolve({**settings, **more})


def test_a_run_lets_go_of_its_folder_however_the_work_ends(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Run.open(tmp_path, "verb", "name", {}, {}):
        _ = 1 / 0
    with Run.open(tmp_path, "verb", "name", {}, {}) as run, pytest.raises(CallgrainError, match="in use"):
        Run.open(tmp_path, "verb", "name", {}, {})
    assert not run.is_done


def test_a_diagnosis_that_broke_asks_again_what_failed_and_what_it_had_not_asked(tmp_path: Path) -> None:
    broken = Shaky(breaks=True, misses=True)
    with pytest.raises(BrokenModel, match="gone"):
        diagnose(recipe(), tmp_path, model=broken)
    (folder,) = (tmp_path / "diagnose").iterdir()
    written = [json.loads(line) for line in (folder / "replies.jsonl").read_text().splitlines()]
    assert len(written) == CHUNK - 7
    assert not any("failure" in row["reply"] for row in written), "what failed is owed while the run goes on"
    sound = Shaky(breaks=False, misses=False)
    run = diagnose(recipe(), tmp_path, model=sound)
    asked = {key for batch in sound.batches for key in batch}
    assert len(asked) == N - len(written)
    assert set(broken.batches[0][::10]) <= asked
    assert run.folder == folder
    assert run.read("done")["failures"] == 0


def test_a_finished_diagnosis_has_its_failures_and_asks_no_more(tmp_path: Path) -> None:
    run = diagnose(recipe(), tmp_path, model=Shaky(breaks=False, misses=True))
    done = run.read("done")
    assert {k: done[k] for k in ("samples", "failures", "set_aside")} == {"samples": N, "failures": 9, "set_aside": 0}
    assert list(done["seconds"]) == ["subtask"]
    replies = [row["reply"] for row in run.rows("replies")]
    assert [r.get("failure") for r in replies] == [None] * (N - 9) + ["timeout"] * 9
    again = Shaky(breaks=False, misses=False)
    assert diagnose(recipe(), tmp_path, model=again).read("done")["failures"] == 9
    assert again.batches == []


@pytest.mark.parametrize("model", ["scripted:wrong_valu=1", "scriptd:wrong_value=1", "remote:m"])
def test_a_wrong_model_is_noticed_before_the_pool_is_cut(tmp_path: Path, model: str) -> None:
    for _ in "ab":
        with pytest.raises((UnknownName, BadInput)):
            diagnose(recipe(model=model), tmp_path)
    (folder,) = (tmp_path / "diagnose").iterdir()
    assert not {"pool.json", "samples.jsonl", "replies.jsonl"} & {path.name for path in folder.iterdir()}


def test_a_finished_diagnosis_needs_its_model_no_more(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    run = diagnose(recipe(model=f"local:{model}"), tmp_path, model=Shaky(breaks=False, misses=False))
    assert diagnose(recipe(model=f"local:{model}"), tmp_path).folder == run.folder


def test_a_build_goes_on_once_its_source_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join([LINES[0], '{"tools": [', LINES[1]]) + "\n")
    wanted = BuildRecipe(source=f"jsonl:{file}", split="all", subtask="full", strict=True)
    for _ in "ab":
        with pytest.raises(BadInput, match=r"mine\.jsonl:2"):
            build(wanted, tmp_path)
    file.write_text("\n".join(LINES) + "\n")
    run = build(wanted, tmp_path)
    assert run.read("done")["rows"] == len(list(run.rows("rows"))) == 2


def test_a_benchmark_is_built_from_by_force_alone(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent / "fixtures" / "bfcl", tmp_path / "data")
    wanted = BuildRecipe(source=f"bfcl:{tmp_path / 'data'}", split="test", subtask="full")
    with pytest.raises(BadInput, match="is a benchmark"):
        build(wanted, tmp_path)
    assert not (tmp_path / "build").exists()
    forced = build(wanted.model_copy(update={"force": True}), tmp_path)
    assert forced.read("done")["rows"] > 0


def test_a_training_that_failed_can_be_tried_again(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the train extra is not installed")
    rows = build(BuildRecipe(source="toolworld:micro", n=4), tmp_path)
    wanted = TrainRecipe(model=str(tmp_path / "nowhere"), rows=str(rows.folder))
    for _ in "ab":
        with pytest.raises(CallgrainError, match="nowhere"):
            train(wanted, tmp_path)
