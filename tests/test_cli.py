"""The real command line in processes of its own: help, exit codes, messages, streams."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from callgrain.core import plugins
from callgrain.core.recipe import Recipe
from callgrain.core.rows import Quarantine, read_rows

FIXTURES = Path(__file__).parent / "fixtures"
LINES = (FIXTURES / "jsonl" / "two.jsonl").read_text().rstrip("\n").split("\n")
RECIPES = {
    "quickstart": "cli._quickstart.QuickstartRecipe",
    "build": "corpus.build.BuildRecipe",
    "diagnose": "probes._diagnose.DiagnoseRecipe",
    "prescribe": "corpus.prescribe.PrescribeRecipe",
    "train": "train._recipe.TrainRecipe",
    "grade": "probes._grade.GradeRecipe",
    "card": "probes._card.CardRecipe",
    "pairs": "corpus.pairs.PairsRecipe",
    "mix": "corpus._mixture.MixRecipe",
    "teach": "corpus.teach.TeachRecipe",
    "word": "corpus.word.WordRecipe",
    "select": "corpus.select.SelectRecipe",
    "fetch": "corpus.fetch.FetchRecipe",
    "export": "export._export.ExportRecipe",
    "verify-export": "export._verify.VerifyRecipe",
    "experts": "train._experts.MixRecipe",
}
SMALL = ("--source", "toolworld:micro", "--n", "4", "--subtask", "names", "--probe", "subtask")
CLEAN = ("diagnose", "--model", "scripted:wrong_tool=0.5", *SMALL)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "callgrain.cli.main", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    own = {k: v for k, v in os.environ.items() if k not in ("CALLGRAIN_HOME", "OPENAI_API_KEY")}
    return own | {"COLUMNS": "200", "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1"} | more


def callgrain(folder: Path, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    """One verb, run in `folder`."""
    given = {"cwd": folder, "env": environment(**more), "capture_output": True, "text": True, "timeout": 120}
    return subprocess.run(command(*arguments), check=False, **given)


def message(done: subprocess.CompletedProcess[str]) -> str:
    """The one plain message of a set-up that the user can mend: what is wrong, and the remedy below it."""
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    text = done.stderr[done.stderr.index("callgrain: ") :]
    assert done.stderr.count("callgrain: ") == 1, done.stderr
    what, *remedy = text.rstrip("\n").split("\n")
    assert what
    assert len(remedy) == 1, text
    assert remedy[0].startswith("  ")
    assert remedy[0].strip()
    return text


# help and streams ----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", RECIPES)
def test_help_names_every_field_of_the_recipe(tmp_path: Path, verb: str) -> None:
    module, _, name = RECIPES[verb].rpartition(".")
    recipe: type[Recipe] = getattr(import_module(f"callgrain.{module}"), name)
    done = callgrain(tmp_path, verb, "--help")
    assert done.returncode == 0
    shown = " ".join(done.stdout.split())
    for field, info in recipe.model_fields.items():
        assert f"--{field.replace('_', '-')}" in shown or re.search(rf"\b{field.upper()}\b", shown), field
        # Lines may be broken behind a hyphen.
        assert " ".join(str(info.description).split()).replace("- ", "-") in shown.replace("- ", "-"), field
    for flag in ("--out", "--json", "--quiet"):
        assert flag in shown


def test_every_verb_takes_out_json_and_quiet(tmp_path: Path) -> None:
    verbs = re.findall(r"^  ([a-z][a-z-]+)  ", callgrain(tmp_path, "--help").stdout, re.MULTILINE)
    assert set(RECIPES) < set(verbs)
    for verb in set(verbs) - set(RECIPES):
        shown = callgrain(tmp_path, verb, "--help").stdout
        assert all(flag in shown for flag in ("--out", "--json", "--quiet")), verb


def test_plain_output_ends_with_the_run_folder_and_progress_goes_to_stderr(tmp_path: Path) -> None:
    done = callgrain(tmp_path, *CLEAN)
    assert done.returncode == 0, done.stderr
    run = tmp_path / done.stdout.rstrip("\n").split("\n")[-1]
    assert run.parent == tmp_path / "runs" / "diagnose"
    assert (run / "done.json").exists()
    assert "asking the model" in done.stderr
    assert "asking the model" not in done.stdout
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == len(set(lines)), "a line of progress is said once"


def test_json_is_all_that_stdout_carries_and_quiet_leaves_stderr_empty(tmp_path: Path) -> None:
    made = callgrain(tmp_path, *CLEAN, "--json", "--quiet", "--out", "here")
    assert (made.returncode, made.stderr) == (0, "")
    readings = [json.loads(line) for line in made.stdout.splitlines()]
    score = next(r for r in readings if r["by"] == {"subtask": "names"} and r["name"] == "ok")
    assert set(score) == {"probe", "name", "value", "low", "high", "n", "by"}
    assert (score["probe"], score["n"]) == ("subtask", 4)
    run = next((tmp_path / "here" / "diagnose").iterdir())
    for arguments in (("build", "toolworld:micro", "--n", "5"), ("prescribe", run), ("report", run)):
        done = callgrain(tmp_path, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        (summary,) = [json.loads(line) for line in done.stdout.splitlines()]
        assert (tmp_path / summary["run"] / "done.json").exists(), arguments
    compared = callgrain(tmp_path, "compare", run, run, "--json")
    assert any(json.loads(line)["name"] == "ok_difference" for line in compared.stdout.splitlines())
    told = callgrain(tmp_path, "compare", run, run, "--quiet").stdout
    assert told.rstrip("\n").split("\n")[-1] == str(run)


def test_a_scripted_diagnosis_never_imports_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from callgrain.cli.main import main\n"
        "try: main()\n"
        "finally: sys.stderr.write('loaded: ' + ' '.join(sorted(m for m in sys.modules if '.' not in m)))"
    )
    light = ",".join(name for name in plugins.names("probes") if name != "retrieval")  # where `dense` is, it ranks too
    arguments = [sys.executable, "-c", code, *CLEAN, "--probe", light, "--subtask", "all"]
    given = {"cwd": tmp_path, "env": environment(), "capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run(arguments, check=False, **given)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.rpartition("loaded: ")[2].split())
    assert "callgrain" in loaded
    assert not {"torch", "transformers", "accelerate"} & loaded


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    given = {"cwd": tmp_path, "env": environment(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command("ls"), **given)
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == b""
    assert process.wait(60) == 1
    process.stderr.close()


# A shell that starts a command in the background has it ignore Ctrl-C, and children inherit that: the test must
# not depend on how it was started itself.
INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from callgrain.cli.main import main; main()"
)


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", INTERRUPTIBLE, "build", "toolworld:micro", "--n", "200000"]
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=environment(), stdout=-1, stderr=-1, text=True, start_new_session=True
    ) as process:
        assert process.stderr
        assert "building rows" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in told
    assert "Traceback" not in told


# what the user can mend ----------------------------------------------------------------------


def _nothing(folder: Path) -> None:
    del folder


def _old_version(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "BFCL_v3_simple.json").write_text("{}")


def _torn_line(folder: Path) -> None:
    (folder / "torn.jsonl").write_text("\n".join([LINES[0], '{"tools": [', LINES[1]]) + "\n")


def _toml(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "mine.toml").write_text(text) and None


def _unfinished(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "recipe.json").write_text("{}")


def _benchmark(folder: Path) -> None:
    shutil.copytree(FIXTURES / "bfcl", folder / "data")


SCRIPTED = ("diagnose", "--model", "scripted:wrong_value=0.1")
MENDABLE: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "missing folder": (_nothing, (*SCRIPTED, "--source", "bfcl:nowhere"), r"no folder 'nowhere'"),
    "other version": (
        _old_version,
        (*SCRIPTED, "--source", "bfcl:data"),
        r"BFCL v4: expected[^\n]*\n.*another version",
    ),
    "other layout": (_old_version, ("build", "sgd:data"), r"no SGD: expected train/[^\n]*found BFCL_v3"),
    "malformed line": (_torn_line, (*SCRIPTED, "--source", "jsonl:torn.jsonl", "--strict"), r"torn\.jsonl:2: no valid"),
    "unknown source": (_nothing, (*SCRIPTED, "--source", "toolword"), r"source 'toolword'\n.*mean 'toolworld'"),
    "unknown level": (_nothing, (*SCRIPTED, "--source", "toolworld:mikro"), r"'mikro'\n.*mean 'micro'"),
    "unknown split": (_nothing, (*SCRIPTED, "--split", "unsen_tool"), r"'unsen_tool'\n.*mean 'unseen_tool'"),
    "unknown sub-task": (_nothing, (*SCRIPTED, "--subtask", "name"), r"sub-task 'name'\n.*mean 'names'"),
    "unknown probe": (_nothing, (*SCRIPTED, "--probe", "weaknes"), r"probe 'weaknes'\n.*mean 'weakness'"),
    "unknown back end": (_nothing, ("diagnose", "--model", "scriptd:", *SMALL), r"'scriptd'\n.*mean 'scripted'"),
    "unknown fault": (_nothing, ("diagnose", "--model", "scripted:wrong_valu=1", *SMALL), r"mean 'wrong_value'"),
    "no model": (_nothing, ("diagnose",), r"model: a value is needed\n.*scripted:"),
    "value out of range": (_nothing, (*SCRIPTED, "--n", "0"), r"n: [^\n]*greater than or equal to 1"),
    "unknown key": (_toml('modell = "x"\n'), ("diagnose", "--recipe", "mine.toml"), r"'modell'\n.*mean 'model'"),
    "bad TOML": (_toml("model = \n"), ("diagnose", "--recipe", "mine.toml"), r"mine\.toml: [^\n]*line 1"),
    "unknown recipe": (_nothing, ("train", "granuler"), r"recipe 'granuler'\n.*mean 'granular'"),
    "recipe without model": (_nothing, ("train", "granular"), r"model: a value is needed\n.*hub id"),
    "missing recipe": (_nothing, ("train", "mine.toml"), r"no recipe 'mine\.toml'"),
    "unknown format": (_nothing, ("build", "toolworld:micro", "--format", "tlr"), r"format 'tlr'\n.*mean 'trl'"),
    "benchmark": (_benchmark, ("build", "bfcl:data", "--split", "test"), r"is a benchmark"),
    "no rows": (_nothing, ("train", "--model", "x"), r"no rows to train on"),
    "no run folder": (_nothing, ("report", "run"), r"run is no run folder"),
    "unfinished run": (_unfinished, ("prescribe", "run"), r"run is not finished\n.*resumes"),
    "unknown family": (_nothing, ("ls", "source"), r"family 'source'\n.*mean 'sources'"),
    "missing tools": (_nothing, ("tools", "openai:tools.json"), r"no file 'tools\.json'"),
    "no model folder": (_nothing, ("diagnose", "--model", "local:no/such/place", *SMALL), r"no folder 'no/such/place'"),
}


@pytest.mark.parametrize("case", MENDABLE)
def test_one_plain_message_with_the_remedy(tmp_path: Path, case: str) -> None:
    prepare, arguments, expected = MENDABLE[case]
    prepare(tmp_path)
    assert re.search(expected, message(callgrain(tmp_path, *arguments, "--quiet")))


def test_an_unknown_flag_is_answered_with_usage_and_2(tmp_path: Path) -> None:
    done = callgrain(tmp_path, "diagnose", "--modle", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--model" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_line_is_set_aside_with_its_place_and_a_count(tmp_path: Path) -> None:
    _torn_line(tmp_path)
    asked = ("--source", "jsonl:torn.jsonl", "--subtask", "full", "--probe", "subtask")
    done = callgrain(tmp_path, *SCRIPTED, *asked)
    assert done.returncode == 0, done.stderr
    assert "1 lines of the source could not be read and were set aside" in done.stdout
    assert "torn.jsonl:2: no valid JSON" in done.stdout
    run = tmp_path / done.stdout.rstrip("\n").split("\n")[-1]
    done_json = json.loads((run / "done.json").read_text())
    assert (done_json["samples"], done_json["failures"], done_json["set_aside"]) == (2, 0, 1)
    built = callgrain(tmp_path, "build", "jsonl:torn.jsonl", "--split", "all", "--subtask", "full", "--json")
    assert json.loads(built.stdout)["set_aside"] == 1


def test_a_model_folder_that_lacks_a_part(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("transformers")
    for name in ("bare", "mute"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"model_type": "llama"}')
        (tmp_path / name / "model.safetensors").write_bytes(b"")
    words = tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>")
    tokenizers.Tokenizer(words).save(str(tmp_path / "mute" / "tokenizer.json"))
    (tmp_path / "mute" / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    bare = message(callgrain(tmp_path, "diagnose", "--model", "local:bare", *SMALL, "--quiet"))
    assert re.search(r"bare has no tokenizer\n.*save_pretrained", bare)
    mute = message(callgrain(tmp_path, "diagnose", "--model", "local:mute", *SMALL, "--quiet"))
    assert re.search(r"no chat template\n.*--dialect json", mute)


# endpoints -----------------------------------------------------------------------------------

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
GOOD = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [CALL]}, "finish_reason": "stop"}]}
TORN = {**CALL, "function": {"name": "f", "arguments": '{"city": "Gr'}}
CUT = {
    "choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [TORN]}, "finish_reason": "length"}]
}


class Endpoint(ThreadingHTTPServer):
    """Answers request number n with `answers[n % len(answers)]`: (type, body)."""

    daemon_threads = True

    def __init__(self, *answers: tuple[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.asked = 0
        self.lock = threading.Lock()

    @property
    def model(self) -> str:
        return f"remote:m@http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            kind, body = self.server.answers[self.server.asked % len(self.server.answers)]
            self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., Endpoint]]:
    servers: list[Endpoint] = []

    def start(*answers: tuple[str, bytes]) -> Endpoint:
        servers.append(Endpoint(*answers))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


JSON_GOOD = ("application/json", json.dumps(GOOD).encode())
JSON_CUT = ("application/json", json.dumps(CUT).encode())
HTML = ("text/html", b"<html><body>Welcome</body></html>")


def test_an_endpoint_that_refuses_everything(tmp_path: Path, serve: Callable[..., Endpoint]) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can take the port meanwhile
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        refused = message(callgrain(tmp_path, "diagnose", "--model", f"remote:m@{address}", *SMALL, "--quiet"))
    assert re.search(r"no connection[^\n]*\n  check that the server runs at", refused)
    web_page = serve(HTML)
    told = message(callgrain(tmp_path, "diagnose", "--model", web_page.model, *SMALL, "--quiet"))
    assert re.search(r"HTML, not JSON: is the address right\?", told)


def test_single_failures_are_recorded_and_counted(tmp_path: Path, serve: Callable[..., Endpoint]) -> None:
    """Of four requests one gets a web page (no reply at all), one a call cut in the middle (a fault)."""
    endpoint = serve(JSON_GOOD, HTML, JSON_CUT, JSON_GOOD)
    asked = ("diagnose", "--model", endpoint.model, *SMALL, "--concurrency", "1")
    done = callgrain(tmp_path, *asked)
    assert done.returncode == 1, done.stderr
    assert "callgrain: 1 of 4 requests got no reply" in done.stderr
    run = tmp_path / done.stdout.rstrip("\n").split("\n")[-1]
    replies = [row["reply"] for _, row in read_rows(run / "replies.jsonl", Quarantine(strict=True))]
    assert ["HTML" in (r.get("failure") or "") for r in replies] == [False, False, False, True], "failures come last"
    assert [(r.get("fault") or {}).get("kind") for r in replies] == [None, "truncated", None, None]
    assert json.loads((run / "done.json").read_text())["failures"] == 1
    verdicts = [row["verdict"]["state"] for _, row in read_rows(run / "verdicts.jsonl", Quarantine(strict=True))]
    assert sorted(verdicts) == ["graded", "graded", "graded", "not_applicable"]
    # The same command again asks nothing anew; more leave for failures ends with 0.
    again = callgrain(tmp_path, *asked, "--fail-on-error", "0.5")
    assert again.returncode == 0, again.stderr
    assert endpoint.asked == 4
    assert again.stdout.rstrip("\n").split("\n")[-1] == str(run.relative_to(tmp_path))


def test_ls_and_doctor(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in callgrain(tmp_path, "ls", "--json").stdout.splitlines()]
    assert {(row["family"], row["name"]) for row in rows} == {
        (family, name) for family in plugins.FAMILIES for name in plugins.names(family)
    }
    assert all(row["caption"] for row in rows)
    assert json.loads(callgrain(tmp_path, "doctor", "--json").stdout)["python"].startswith("3.")
