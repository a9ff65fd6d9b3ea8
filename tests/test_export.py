"""Export: the template is the dialect, the folder is the model, the card counts, and a damaged copy is found out."""

from __future__ import annotations

import json
import shutil
import sys
from itertools import islice
from pathlib import Path
from random import Random

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from callgrain.cli import main as command_line  # noqa: E402
from callgrain.core import plugins  # noqa: E402
from callgrain.core.errors import BadInput, UnknownName  # noqa: E402
from callgrain.core.store import Run  # noqa: E402
from callgrain.core.types import Call, Message, Prompt, Result, Tool  # noqa: E402
from callgrain.corpus.build import BuildRecipe, build  # noqa: E402
from callgrain.dialects._chat import as_chat, as_function  # noqa: E402
from callgrain.export._export import ExportRecipe  # noqa: E402
from callgrain.export._run import export  # noqa: E402
from callgrain.export._template import parity, template_for  # noqa: E402
from callgrain.export._verify import Said, VerifyRecipe, first_difference, verify_export  # noqa: E402
from callgrain.models import _adapters  # noqa: E402
from callgrain.models._load import Loaded, load  # noqa: E402
from callgrain.models._tiny import new_tiny  # noqa: E402
from callgrain.probes._diagnose import DiagnoseRecipe, diagnose  # noqa: E402
from callgrain.sources._open import open_source  # noqa: E402
from callgrain.tools._toolworld_micro import vocabulary  # noqa: E402
from callgrain.train._recipe import TrainRecipe  # noqa: E402
from callgrain.train._run import train  # noqa: E402

HOUSE = ("compact", "json")
ODD = (
    *("1e5", "1E-3", "01", "0", "1.", "1.5.2", "-2", "2x", ".5", "e5", "1e", "1e-", "9" * 30, "٣"),
    *("true", "null", "None", "$a$", "$a.b-c$", "a b", "", "a/b", "x" * 200, "x" * 201, "ü", "a\nb", 'say "hi"'),
    *("back\\slash", "@me", "_", "a@b"),
)
"""Texts at the edges of what stands bare, what is a number, what is a name."""


def tokenizer(*, opening: bool = False) -> object:
    """One token a byte, with the house's marks; with an opening token where it is asked for."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    inner = tokenizers.Tokenizer(tokenizers.models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    inner.add_special_tokens(["<|end|>", "<|pad|>", "<|begin|>"])
    if opening:
        first = inner.token_to_id("<|begin|>")
        inner.post_processor = tokenizers.processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", first)]
        )
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>", bos_token="<|begin|>" if opening else None
    )
    made.clean_up_tokenization_spaces = False
    return made


def served(words: object, prompt: Prompt) -> str:
    tools = [as_function(tool) for tool in prompt.tools] or None
    chat = as_chat(prompt.messages)
    return words.apply_chat_template(chat, tools=tools, add_generation_prompt=True, tokenize=False)


def house(dialect_id: str, words: object) -> Loaded:
    words.chat_template = template_for(dialect_id, words)
    return Loaded(None, words, dialect_id, plugins.load("dialects", dialect_id)())


# the chat template ---------------------------------------------------------------------------


@pytest.mark.parametrize("dialect_id", HOUSE)
@pytest.mark.parametrize("spec", ["toolworld:micro", "toolworld:full"])
def test_the_template_writes_toolworlds_prompts_byte_for_byte(dialect_id: str, spec: str) -> None:
    loaded = house(dialect_id, tokenizer())
    source, split = open_source(spec)
    seen, met = 0, set()
    for trace in islice(source.traces(split), 30):
        for name in plugins.names("subtasks"):
            for sample in islice(plugins.load("subtasks", name)().samples(trace, Random(1)), 1):
                # the gold turn as history, so that every kind of call stands in an earlier turn too
                for more in ((), (sample.answer.message, Message(role="user", text="and now?"))):
                    prompt = sample.prompt.model_copy(update={"messages": (*sample.prompt.messages, *more)})
                    assert served(loaded.tokenizer, prompt) == loaded.dialect.render(prompt)
                    seen += 1
                    met |= {"label" for m in prompt.messages for c in m.calls if c.label}
                    met |= {"results" for m in prompt.messages if m.results}
                    met |= {m.role for m in prompt.messages} | ({"no tools"} if not prompt.tools else {"tools"})
    assert seen > 200
    assert {"label", "results", "user", "assistant", "tool", "tools"} <= met


def odd_prompt(rng: Random) -> Prompt:
    """A conversation of everything that a spelling can stumble over."""

    def value(depth: int = 0) -> object:
        kinds = [rng.choice(ODD), rng.choice(ODD), rng.randint(-9, 9), rng.random(), True, None]
        if depth < 2:
            kinds += [[value(depth + 1) for _ in range(2)], {rng.choice(ODD): value(depth + 1)}]
        return rng.choice(kinds)

    def schema(depth: int = 0) -> object:
        plain = [{"type": rng.choice(["string", "integer", "number", "boolean", "null"])}, {"type": ["string", "null"]}]
        plain += [{"enum": rng.sample([*ODD, 1, 2.5, None, True], rng.choice([1, 5, 25]))}, {}, True, {"enum": []}]
        if depth < 3:
            fields = {n: schema(depth + 1) for n in rng.sample([*ODD, "items", "type", "keys"], rng.choice([0, 2, 15]))}
            plain += [{"type": "array", "items": schema(depth + 1)}, {"type": "array"}, {"type": "object"}]
            plain += [{"type": "object", "properties": fields}]
        return rng.choice(plain)

    def tool(name: str) -> Tool:
        names = rng.sample([*ODD, "items", "get", "city"], 3)
        parameters = {"type": "object", "properties": {n: schema() for n in names}, "required": names[:1]}
        returns = rng.choice([None, {"title": rng.choice(["hotel", "a b"]), "type": "string"}, {"type": "object"}])
        about = rng.choice(["", "Books  a\n room.", "x " * 150])
        return Tool(name=name, description=about, parameters=rng.choice([parameters, {}]), returns=returns)

    def call() -> Call:
        label = rng.choice([None, None, "a", "step_2", "v-1"])
        return Call(name=rng.choice(["book", "a b", "x.y"]), arguments={rng.choice(ODD): value()}, label=label)

    text = rng.choice(["hello", "Sure.", "<think> is a mark", '> "quoted"', "@ home", " padded ", "line\nline", ""])
    thought = rng.choice(["", "", "so </think> it \\ is"])
    calls = (call(), call())
    results = tuple(Result(label=c.label, name=c.name, value=value()) for c in calls)
    results += (Result(name="book", error="no room"),)
    messages = [
        Message(role="user", text=rng.choice(ODD)),
        Message(text=text, thought=thought),
        Message(role="system", text="later"),
        Message(calls=calls, text=rng.choice(["", "one moment"]), thought=thought),
        Message(role="tool", results=results),
        Message(role="user", text="go on"),
    ]
    if rng.random() < 0.7:
        messages.insert(0, Message(role="system", text=rng.choice(["You help.", "  You help.\n", ""])))
    return Prompt(messages=tuple(messages), tools=tuple(tool(n) for n in rng.sample(["book", "a b", "x/y", "1st"], 2)))


@pytest.mark.parametrize("dialect_id", HOUSE)
def test_the_template_writes_odd_prompts_byte_for_byte(dialect_id: str) -> None:
    loaded = house(dialect_id, tokenizer())
    for number in range(60):
        prompt = odd_prompt(Random(number))
        assert served(loaded.tokenizer, prompt) == loaded.dialect.render(prompt), number


@pytest.mark.parametrize("dialect_id", HOUSE)
def test_an_opening_token_is_served_where_it_is_trained(dialect_id: str) -> None:
    prompts = [odd_prompt(Random(n)) for n in range(20)]
    for opening in (False, True):
        loaded = house(dialect_id, tokenizer(opening=opening))
        assert parity(loaded, loaded.tokenizer, prompts) == (20, [])
    loaded.tokenizer.chat_template = loaded.tokenizer.chat_template.replace("<|user|>", "<|human|>")
    loaded.tokenizer.chat_template = loaded.tokenizer.chat_template.replace("m['role']", "m['role'] ~ ''")
    assert parity(loaded, house(dialect_id, tokenizer()).tokenizer, prompts) == (20, list(range(20)))


def test_ids_that_servers_make_are_no_labels() -> None:
    loaded = house("compact", tokenizer())
    for made in ("call_0", "call_a1b2", "chatcmpl-tool-5f3c", "9hXbT2pQr"):
        prompt = Prompt(messages=(Message(calls=(Call(name="book", label=made),)),))
        assert "@book" in served(loaded.tokenizer, prompt)
    assert template_for("chat_template", loaded.tokenizer) is None


# a whole export --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def trained(root: Path) -> Run:
    torch.set_num_threads(1)
    base = new_tiny(root / "seedling", (*vocabulary(), *plugins.names("subtasks")))
    rows = build(BuildRecipe(source="toolworld:micro", n=60, subtask="names=2,nest"), root)
    settings = {"learning_rate": 2e-3, "batch_tokens": 1024, "max_length": 256, "threads": 1}
    return train(TrainRecipe.resolve({"model": str(base), "rows": str(rows.folder), **settings}), root)


def export_of(trained: Run, root: Path, **more: object) -> Run:
    return export(ExportRecipe.resolve({"run": str(trained.folder), "n": 20, **more}), root)


@pytest.fixture(scope="module")
def merged(trained: Run, root: Path) -> Run:
    return export_of(trained, root)


def test_the_folder_is_an_ordinary_model_with_the_same_weights(trained: Run, merged: Run) -> None:
    folder = Path(merged.read("done")["model"])
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    old = load(str(trained.folder / "model"), device="cpu")
    assert all(torch.equal(weight, old.model.state_dict()[name]) for name, weight in model.state_dict().items())
    end = words.convert_tokens_to_ids("<|end|>")
    assert words.eos_token == "<|end|>"
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert end in (ends if isinstance(ends, list) else [ends])
    assert load(str(folder), device="cpu").dialect_id == old.dialect_id == "compact"
    assert merged.read("done")["parity"] == {"compared": 20, "same": 20}
    # what a server does from here on needs nothing of ours
    prompt = next(iter(islice(open_source("toolworld:micro")[0].traces("test"), 1)))
    text = served(words, Prompt(messages=prompt.messages, tools=prompt.tools))
    assert text == old.dialect.render(Prompt(messages=prompt.messages, tools=prompt.tools))


def test_running_again_finds_the_export_there(trained: Run, merged: Run, root: Path) -> None:
    card = merged.folder / "model" / "README.md"
    before = card.stat().st_mtime_ns
    assert export_of(trained, root).folder == merged.folder
    assert card.stat().st_mtime_ns == before


def test_the_card_counts_what_it_was_trained_on_and_what_it_scores(trained: Run, root: Path) -> None:
    asked = {"source": "toolworld:micro", "n": 4, "max_tokens": 8, "subtask": "names,nest", "probe": "subtask"}
    before = diagnose(DiagnoseRecipe(model="scripted:wrong_value=0.5", **asked), root)
    after = diagnose(DiagnoseRecipe(model=f"local:{trained.folder / 'model'}", **asked), root)
    run = export_of(trained, root, before=str(before.folder), after=str(after.folder), licence="apache-2.0")
    text = (run.folder / "model" / "README.md").read_text()
    from huggingface_hub import ModelCard

    card = ModelCard(text)
    data = card.data.to_dict()
    assert data["library_name"] == "transformers"
    assert data["license"] == "apache-2.0"
    assert "function-calling" in data["tags"]
    assert {m["name"] for r in data["model-index"][0]["results"] for m in r["metrics"]} == {
        "names, share right",
        "nest, share right",
    }
    assert "| toolworld | train | Apache-2.0 | 60 |" in text
    assert "| names | 40 | 66.7% |" in text
    assert "| nest | 20 | 33.3% |" in text
    rows = {row["key"]: row for row in before.rows("verdicts")}
    share = sum(row["ok"] for row in rows.values() if row["subtask"] == "names") / 4
    assert f"| names | {100 * share:.1f} % [" in text
    assert "difference, paired" in text
    done = trained.read("done")
    assert f"{done['target_tokens']:,} target tokens" in text
    assert "20 of 20 prompts" in text
    assert str(root) not in text, "a path of this machine is nobody's business"


def test_a_card_without_runs_claims_nothing(trained: Run, root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained.folder / "model", tmp_path / "loose")
    run = export(ExportRecipe(run=str(copy), n=3), root)
    text = (run.folder / "model" / "README.md").read_text()
    assert "was not at hand" in text
    assert "license" not in text.split("---")[1]
    assert run.read("done")["parity"] == {"compared": 3, "same": 3}


def test_an_adapter_leaves_alone_or_merged(root: Path, tmp_path: Path) -> None:
    base = new_tiny(tmp_path / "base", vocabulary(), seed=3)
    loaded = load(str(base), device="cpu")
    model = _adapters.attach(loaded.model, "lora", rank=2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
    place = tmp_path / "tuned"
    _adapters.save(model, place)
    loaded.tokenizer.save_pretrained(place)
    ids = torch.arange(4, 24)[None]
    with torch.no_grad():
        wanted = model.eval()(ids).logits
    whole = export(ExportRecipe(run=str(place), n=2), root).folder / "model"
    with torch.no_grad():
        found = transformers.AutoModelForCausalLM.from_pretrained(whole).eval()(ids).logits
    assert torch.allclose(wanted, found, atol=1e-5)
    alone = export(ExportRecipe(run=str(place), format="adapter", n=2), root)
    assert "--base" in " ".join(alone.read("done")["notes"])
    named = export(ExportRecipe(run=str(place), format="adapter", base="owner/base", n=2), root).folder / "model"
    assert json.loads((named / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/base"
    assert str(tmp_path) not in "".join(p.read_text() for p in named.glob("*.json"))
    assert sum(p.stat().st_size for p in named.glob("*.safetensors")) < 200_000


def test_what_cannot_be_exported_says_so(trained: Run, root: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no folder"):
        export(ExportRecipe(run=str(tmp_path / "nowhere")), root)
    with pytest.raises(UnknownName, match="unknown type of weights for merged 'q8_0'"):
        export_of(trained, root, dtype="q8_0")
    with pytest.raises(UnknownName, match="unknown export 'onnx'"):
        export_of(trained, root, format="onnx")
    with pytest.raises(BadInput, match="has no adapter"):
        export_of(trained, root, format="adapter")
    with pytest.raises(BadInput, match="made no model"):
        export(ExportRecipe(run=str(Path(trained.read("recipe")["rows"]))), root)


# the check ---------------------------------------------------------------------------------------


def test_where_replies_part_is_the_first_token_that_differs() -> None:
    one = Said(("a", "b", "c"), (-0.1, -0.2, -0.3))
    assert first_difference(one, one) is None
    other = Said(("a", "x", "c"), (-0.1, -0.7, -0.3))
    assert first_difference(one, other) == {"index": 1, "tokens": ["b", "x"], "logprobs": [-0.2, -0.7]}
    short = Said(("a", "b"), (-0.1, -0.2))
    assert first_difference(one, short) == {"index": 2, "tokens": ["c", None], "logprobs": [-0.3, None]}
    assert first_difference(one, Said(failure="no")) == {"index": 0, "failures": [None, "no"]}


def test_an_export_answers_as_its_model_and_a_damaged_one_is_found_out(
    trained: Run, merged: Run, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"against": str(trained.folder), "n": 9, "max_tokens": 12}
    run = verify_export(VerifyRecipe(exported=str(merged.folder), **asked), root)
    result = run.read("result")
    assert (result["n"], result["exact"], result["parity"]["same"]) == (9, 9, 9)
    assert not list(run.rows("mismatches"))
    damaged = shutil.copytree(merged.folder / "model", tmp_path / "damaged")
    from safetensors.torch import load_file, save_file

    weights = load_file(damaged / "model.safetensors")
    name = next(n for n in weights if n.endswith("v_proj.weight"))
    weights[name] = -weights[name]
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    run = verify_export(VerifyRecipe(exported=str(damaged), **asked), root)
    result = run.read("result")
    assert result["exact"] < 9
    assert result["parity"]["same"] == 9
    row = next(iter(run.rows("mismatches")))
    assert row["tokens"][0] != row["tokens"][1]
    assert all(p is None or p <= 0 for p in row["logprobs"])
    asked_again = [str(damaged), "--against", str(trained.folder), "--n", "9", "--max-tokens", "12", "--out", str(root)]
    old = sys.argv
    try:
        sys.argv = ["callgrain", "verify-export", *asked_again, "--quiet"]
        with pytest.raises(SystemExit) as end:
            command_line.main()
        assert end.value.code == 1
        sys.argv = ["callgrain", "verify-export", *asked_again, "--quiet", "--fail-under", "0"]
        with pytest.raises(SystemExit) as end:
            command_line.main()
        assert end.value.code == 0
    finally:
        sys.argv = old
    said = capsys.readouterr().out
    assert f"parts at token {row['index']}: {row['tokens'][0]!r}" in said


def test_a_template_that_spells_otherwise_is_counted(trained: Run, merged: Run, root: Path, tmp_path: Path) -> None:
    other = shutil.copytree(merged.folder / "model", tmp_path / "other")
    template = other / "chat_template.jinja"
    template.write_text(template.read_text().replace("'<|tools|>\\n'", "'<|user|>\\n'"))
    asked = VerifyRecipe(exported=str(other), against=str(trained.folder), n=6, max_tokens=2)
    parity_ = verify_export(asked, root).read("result")["parity"]
    assert (parity_["compared"], parity_["same"]) == (6, 0)
