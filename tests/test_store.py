"""Run folders under kill -9, torn lines, full disks and two processes at once."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from random import Random

import pytest

from callgrain.core.errors import BadInput, CallgrainError
from callgrain.core.store import Journal, Run, write_atomic, write_json

DIAGNOSE = (
    "diagnose", "--model", "scripted:wrong_value=0.3", "--source", "toolworld:micro", "--n", "40", "--quiet", "--json",
)  # fmt: skip


def record(i: int) -> dict[str, object]:
    return {"key": f"k{i}", "text": "é\u2028" + "x" * i, "n": 10**20 if i == 2 else i}


# journals ------------------------------------------------------------------------------------


def test_a_line_torn_at_any_byte_is_cut_off_counted_and_owed_again(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        assert journal.append(map(record, range(4))) == 4
    whole = path.read_bytes()
    last = len(whole) - whole.rindex(b"\n", 0, -1) - 1
    for lost in range(1, last + 1):
        path.write_bytes(whole[: len(whole) - lost])
        with Journal(path) as journal:
            assert journal.torn == last - lost
            assert journal.keys == {"k0", "k1", "k2"}
            assert journal.count == 3
            assert journal.append(map(record, range(4))) == 1
        assert path.read_bytes() == whole
    with Journal(path) as journal:
        assert journal.torn == 0
        assert list(journal.rows()) == [record(i) for i in range(4)]


def test_a_key_is_written_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "deep" / "j.jsonl") as journal:
        assert journal.append([record(1), record(2), record(1)]) == 2
        assert journal.append([record(2)]) == 0
        assert journal.append([record(3)]) == 1
        assert [row["key"] for row in journal.rows()] == ["k1", "k2", "k3"]
        assert journal.count == 3
    with Journal(tmp_path / "free.jsonl", keyed=False) as journal:
        assert journal.append([{"a": 1}, {"a": 1}]) == 2
        assert not journal.keys


def test_a_damaged_record_is_named_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"key":"a"}\n{"key"\n{"key":"b"}\n')
    with pytest.raises(BadInput, match=r"j\.jsonl:2"):
        Journal(path)
    path.write_bytes(b'{"key":"a"}\n[1]\n')
    with pytest.raises(BadInput, match="damaged"):
        Journal(path)


# folders -------------------------------------------------------------------------------------


def test_one_recipe_and_its_inputs_have_one_folder(tmp_path: Path) -> None:
    first = Run.open(tmp_path, "verb", "name", {"a": 1, "b": 2}, {"seed": 0})
    first.close()
    again = Run.open(tmp_path, "verb", "name", {"b": 2, "a": 1}, {"seed": 0})
    other = Run.open(tmp_path, "verb", "name", {"b": 2, "a": 1}, {"seed": 1})
    assert first.folder == again.folder != other.folder
    assert again.read("recipe") == {"a": 1, "b": 2}
    assert list(again.rows("nothing")) == []
    with pytest.raises(BadInput, match="not finished"):
        Run.find(again.folder)
    again.finish({"samples": 3})
    assert Run.find(again.folder).is_done
    with pytest.raises(BadInput, match="no run folder"):
        Run.find(tmp_path)
    again.close()
    other.close()


def test_a_second_process_is_refused_with_the_first_ones_number(tmp_path: Path) -> None:
    holder = """
        import sys
        from pathlib import Path
        from callgrain.core.store import Run
        run = Run.open(Path(sys.argv[1]), "verb", "name", {}, {})
        print("held", flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(holder), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        with pytest.raises(CallgrainError, match=rf"in use by process {child.pid}\b"):
            Run.open(tmp_path, "verb", "name", {}, {})
        child.send_signal(signal.SIGKILL)
        child.wait()
    Run.open(tmp_path, "verb", "name", {}, {}).close()


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="--out"):
        Run.open(tmp_path / "file", "verb", "name", {}, {})


# full disks ----------------------------------------------------------------------------------


def on_a_full_disk(work: str, *arguments: str) -> str:
    """What `work` prints in a process that may write files of 4,000 bytes at most."""
    script = """
        import resource, signal, sys
        from pathlib import Path
        from callgrain.core.errors import BadInput
        from callgrain.core.store import Journal, write_atomic
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        path = Path(sys.argv[1])
        try:
    """
    end = "except BadInput as error:\n    print(error)\n"
    body = textwrap.dedent(script) + textwrap.indent(work, "    ") + "\n" + end
    command = [sys.executable, "-c", body, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_an_atomic_write_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"old": True})
    said = on_a_full_disk("write_atomic(path, [b'x' * 1500] * 9)", str(path))
    assert "cannot write" in said
    assert "free space" in said
    assert json.loads(path.read_bytes()) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]
    write_atomic(path, [b"new", b"er"])
    assert path.read_bytes() == b"newer"


def test_an_atomic_write_that_fails_on_the_way_leaves_nothing_behind(tmp_path: Path) -> None:
    def pieces():
        yield b"half"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_atomic(tmp_path / "value", pieces())
    assert list(tmp_path.iterdir()) == []


def test_a_journal_on_a_full_disk_says_so_and_goes_on_later(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    work = "with Journal(path) as j:\n    for i in range(99):\n        j.append([{'key': str(i), 't': 'x' * 300}])"
    assert "it resumes" in on_a_full_disk(work, str(path))
    assert path.stat().st_size == 4000
    with Journal(path) as journal:
        assert 0 < journal.torn == 4000 - path.stat().st_size
        assert 0 < journal.count < 99
        journal.append({"key": str(i), "t": "x" * 300} for i in range(99))
        assert [row["key"] for row in journal.rows()] == [str(i) for i in range(99)]


# kill -9 -------------------------------------------------------------------------------------


def started(out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "callgrain.cli.main", *DIAGNOSE, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(out: Path) -> Path:
    child = started(out)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 0, said
    (folder,) = (out / "diagnose").iterdir()
    return folder


def is_at(out: Path, moment: str | float, start: float) -> bool:
    if isinstance(moment, float):
        return time.monotonic() - start > moment
    return any(path.stat().st_size for path in out.glob(f"diagnose/*/{moment}"))


def test_a_run_killed_anywhere_comes_to_the_same_end(tmp_path: Path) -> None:
    start = time.monotonic()
    whole = finished(tmp_path / "whole")
    length = time.monotonic() - start
    rng, killed = Random(5), 0
    for number, moments in enumerate(
        (
            ["recipe.json", "samples.jsonl"],
            ["replies.jsonl", "verdicts.jsonl"],
            [rng.uniform(0.2, 0.7) * length for _ in "ab"],
        )
    ):
        out = tmp_path / str(number)
        for moment in moments:
            child, begun = started(out), time.monotonic()
            while child.poll() is None and not is_at(out, moment, begun):
                time.sleep(0.001)
            child.kill()
            child.communicate()
            killed += child.returncode == -signal.SIGKILL
        folder = finished(out)
        assert folder.name == whole.name
        for name in ("samples", "replies", "verdicts", "probe_verdicts", "readings"):
            rows = (folder / f"{name}.jsonl").read_bytes()
            assert rows == (whole / f"{name}.jsonl").read_bytes(), name
        keys = [json.loads(line)["key"] for line in (folder / "replies.jsonl").read_bytes().split(b"\n")[:-1]]
        assert len(set(keys)) == len(keys) > 40 * 8
    assert killed >= 3
