"""Training: the mask, the batches, the loss, and that a killed run ends as if it had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from callgrain.core import plugins  # noqa: E402
from callgrain.core.errors import BadInput, UnknownName  # noqa: E402
from callgrain.core.store import Run  # noqa: E402
from callgrain.corpus.build import BuildRecipe, build  # noqa: E402
from callgrain.models._load import load  # noqa: E402
from callgrain.models._tiny import new_tiny  # noqa: E402
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose, readings  # noqa: E402
from callgrain.tools._toolworld_micro import vocabulary  # noqa: E402
from callgrain.train._batches import TokenBatches, collate, encode  # noqa: E402
from callgrain.train._recipe import TrainRecipe  # noqa: E402
from callgrain.train._run import train  # noqa: E402
from callgrain.train.sft import COMPLETE, target_loss  # noqa: E402


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_tiny(tmp_path_factory.mktemp("tiny") / "model", (*vocabulary(), *plugins.names("subtasks")))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return build(BuildRecipe(source="toolworld:micro", n=240), tmp_path_factory.mktemp("rows"))


def recipe(model: Path, rows: Run, **more: object) -> TrainRecipe:
    settings = {"learning_rate": 2e-3, "batch_tokens": 1024, "max_length": 256, "save_steps": 5, "threads": 1}
    return TrainRecipe.resolve({"model": str(model), "rows": str(rows.folder), **settings, **more})


def test_the_loss_falls_on_the_target_and_nowhere_else(tiny: Path, rows: Run) -> None:
    loaded = load(str(tiny), dtype="float32")
    encoded = encode(rows.rows("rows"), loaded, 256)
    assert len(encoded.kept) == 240
    batch = collate(encoded.kept[:8], loaded.tokenizer.pad_token_id)
    for row, labels in zip(encoded.kept[:8], batch["labels"], strict=True):
        trained = [int(t) for t in labels if t != -100]
        assert trained == list(row.ids[row.prompt :])
        text = loaded.tokenizer.decode(trained)
        assert text.endswith(loaded.dialect.end)
        assert 0 < len(trained) < len(row.ids)


def test_no_word_of_the_micro_world_is_unknown_to_its_tokenizer(tiny: Path, rows: Run) -> None:
    loaded = load(str(tiny), dtype="float32")
    unknown = loaded.tokenizer.unk_token_id
    for row in encode(rows.rows("rows"), loaded, 10_000).kept:
        assert unknown not in row.ids, loaded.tokenizer.decode(row.ids)


def test_the_loss_is_the_librarys_own_computed_on_fewer_positions(tiny: Path, rows: Run) -> None:
    loaded = load(str(tiny), dtype="float32")
    batch = collate(encode(rows.rows("rows"), loaded, 256).kept[:6], loaded.tokenizer.pad_token_id)
    with torch.no_grad():
        ours = target_loss(loaded.model, batch)
        theirs = loaded.model(**batch).loss
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_padding_does_not_change_a_rows_loss(tiny: Path, rows: Run) -> None:
    loaded = load(str(tiny), dtype="float32")
    kept = sorted(encode(rows.rows("rows"), loaded, 256).kept, key=lambda r: len(r.ids))
    short, long = kept[0], kept[-1]
    with torch.no_grad():
        alone = target_loss(loaded.model, collate([short], 0)).item()
        both = collate([short, long], 0)
        both["labels"][1] = -100
        assert target_loss(loaded.model, both).item() == pytest.approx(alone, rel=1e-4)


def test_batches_hold_every_row_once_within_the_budget() -> None:
    lengths = [1 + (i * 37) % 90 for i in range(500)]
    batches = TokenBatches(lengths, 400, seed=3)
    first = list(batches)
    assert sorted(i for b in first for i in b) == list(range(500))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= 400 for b in first)
    assert len(first) == len(batches)
    assert list(TokenBatches(lengths, 400, seed=3)) == first
    assert list(TokenBatches(lengths, 400, seed=4)) != first
    batches.set_epoch(1)
    assert list(batches) != first


def test_training_lowers_the_loss_and_leaves_an_ordinary_model(tiny: Path, rows: Run, tmp_path: Path) -> None:
    run = train(recipe(tiny, rows, epochs=3.0), tmp_path)
    losses = [loss for _, loss in run.read("training")["loss"]]
    assert losses[-1] < 0.8 * losses[0]
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run.folder / "model"
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() < 1_000_000
    assert len(AutoTokenizer.from_pretrained(folder)) == len(AutoTokenizer.from_pretrained(tiny))
    asked = DiagnoseRecipe(model=f"local:{folder}", source="toolworld:micro", n=6, max_tokens=24, subtask="names,nest")
    found = readings(diagnose(asked, tmp_path))
    assert {r.by["subtask"] for r in found if r.name == "ok" and len(r.by) == 1} == {"names", "nest"}
    assert train(recipe(tiny, rows, epochs=3.0), tmp_path).folder == run.folder  # done: nothing is trained again


def test_a_killed_training_goes_on_and_ends_the_same(tiny: Path, rows: Run, tmp_path: Path) -> None:
    whole = train(recipe(tiny, rows, epochs=3.0, seed=5), tmp_path / "whole")
    code = (
        "import sys; from pathlib import Path; from callgrain.train._run import train;"
        "from callgrain.train._recipe import TrainRecipe;"
        "train(TrainRecipe.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    settings = recipe(tiny, rows, epochs=3.0, seed=5)
    command = [sys.executable, "-c", code, settings.model_dump_json(), str(tmp_path / "killed")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "killed").glob(f"train/*/checkpoints/*/{COMPLETE}")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not list((tmp_path / "killed").glob("train/*/done.json")), "it was too fast to be killed midway"
    resumed = train(settings, tmp_path / "killed")
    from safetensors.torch import load_file

    one, other = (load_file(r.folder / "model" / "model.safetensors") for r in (whole, resumed))
    assert resumed.read("training")["steps"] == whole.read("training")["steps"]
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def test_what_cannot_be_trained_says_so(tiny: Path, rows: Run, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no rows to train on"):
        train(TrainRecipe(model=str(tiny)), tmp_path)
    with pytest.raises(UnknownName, match="unknown train 'sfft'"):
        train(recipe(tiny, rows, method="sfft"), tmp_path)
    with pytest.raises(BadInput, match="no row is short enough"):
        train(recipe(tiny, rows, max_length=9), tmp_path)
