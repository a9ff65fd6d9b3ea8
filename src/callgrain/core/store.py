"""The only code that writes to disk: run folders, journals, atomic files.

A run's folder is named by its recipe and inputs, so running again is resuming. A journal is
append-only: whole records are handed to the kernel at once, keys already there are skipped,
and a last line that a kill tore in two is cut off when the journal is opened again.
"""

from __future__ import annotations

import fcntl
import os
import platform
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import orjson

from callgrain.core.canonical import content_key, dumps
from callgrain.core.errors import BadInput, CallgrainError
from callgrain.core.rows import Quarantine, read_json, read_rows


def home() -> Path:
    """Where runs go unless `--out` says otherwise: `$CALLGRAIN_HOME/runs`, else `./runs`."""
    base = os.environ.get("CALLGRAIN_HOME")
    return Path(base) / "runs" if base else Path("runs")


def write_atomic(path: Path, pieces: Iterable[bytes]) -> None:
    """Put `pieces` at `path` whole or not at all: temporary file, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:  # whatever ended it, an interrupt too: nothing half-written stays
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}", "check free space and permissions") from error
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`value` as readable JSON, atomically."""
    write_atomic(path, [orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS), b"\n"])


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Journal:
    """An append-only JSON Lines file whose records carry a `key`; each key is written once.

    `torn` is the number of bytes of an unfinished last line that were cut off on opening.
    With `keyed=False` records need no key and only their count is kept, so that memory does
    not grow with the file.
    """

    def __init__(self, path: Path, *, keyed: bool = True) -> None:
        self.path = path
        self.keys: set[str] = set()
        self.count = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise BadInput(f"cannot write {path}: {error.strerror}", "check permissions") from error
        self.torn = self._recover(keyed)
        self._keyed = keyed

    def _recover(self, keyed: bool) -> int:
        """Count (and index) the whole lines; cut off what a kill left of the last one."""
        end = 0
        with os.fdopen(os.dup(self._handle), "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                self.count += 1
                if keyed:
                    self.keys.add(_key_of(line, self.path, self.count))
        size = os.lseek(self._handle, 0, os.SEEK_END)
        if size > end:
            os.ftruncate(self._handle, end)
            os.lseek(self._handle, end, os.SEEK_SET)
        return size - end

    def append(self, records: Iterable[dict[str, Any]]) -> int:
        """Append the records whose key is new, in one write; returns how many were."""
        lines: list[bytes] = []
        for record in records:
            if self._keyed:
                if record["key"] in self.keys:
                    continue
                self.keys.add(record["key"])
            lines.append(dumps(record) + b"\n")
        data = memoryview(b"".join(lines))
        while data:  # a write may be cut short when the disk fills: go on until it says why
            try:
                data = data[os.write(self._handle, data) :]
            except OSError as error:
                raise BadInput(
                    f"cannot write {self.path}: {error.strerror}", "free some space and run again: it resumes"
                ) from error
        self.count += len(lines)
        return len(lines)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every record, in the order of writing."""
        for _, row in read_rows(self.path, Quarantine(strict=True)):
            yield row

    def close(self, *, sync: bool = True) -> None:
        """Hand the file to the disk and let go of it."""
        if self._handle >= 0:
            if sync:
                os.fsync(self._handle)
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _key_of(line: bytes, path: Path, number: int) -> str:
    try:
        return orjson.loads(line)["key"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BadInput(f"{path}:{number}: a damaged record", "remove that line; running again fills it in") from error


class Run:
    """One run's folder: `runs/<verb>/<recipe>-<8 hex>/`, resumed by running again.

    `done.json` is written last, and only whole. A second process on the same folder is refused.
    As a context manager it lets go of the folder however the work ends, so that a program whose
    run failed can try again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None

    @classmethod
    def open(
        cls,
        root: Path,
        verb: str,
        name: str,
        recipe: dict[str, Any],
        inputs: dict[str, Any],
        *,
        unnamed: Collection[str] = (),
    ) -> Self:
        """The folder of this recipe with these inputs; made, or found again and locked.

        `inputs` (hashes, specs, seed) take part in the name; settings in `unnamed` do not: those that
        only change speed, and paths for which a hash among the inputs stands. Raises CallgrainError
        where another process is at work in it, BadInput where the folder cannot be written.
        """
        run = cls.beside(root, verb, name, recipe, inputs, unnamed=unnamed)
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"cannot make {run.folder}: {error.strerror}", "choose another --out") from error
        if run.is_done:  # nothing will be written: any number of readers may have it
            return run
        run._take_lock()
        try:
            if not (run.folder / "recipe.json").exists():
                write_json(run.folder / "inputs.json", {**inputs, "machine": machine()})
                write_json(run.folder / "recipe.json", recipe)
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def beside(
        cls,
        root: Path,
        verb: str,
        name: str,
        recipe: dict[str, Any],
        inputs: dict[str, Any],
        *,
        unnamed: Collection[str] = (),
    ) -> Self:
        """The same folder without its lock: for the other processes of a launcher, whose first one holds it."""
        naming = {key: value for key, value in recipe.items() if key not in unnamed}
        tail = content_key({"verb": verb, "recipe": naming, "inputs": inputs})[:8]
        return cls(root / verb / f"{name}-{tail}")

    @classmethod
    def find(cls, folder: Path) -> Self:
        """An existing run folder, for reading. Raises BadInput where it is none, or not finished."""
        if not (folder / "recipe.json").exists():
            raise BadInput(f"{folder} is no run folder", "give the folder that a verb printed as its last line")
        if not (folder / "done.json").exists():
            raise BadInput(f"the run in {folder} is not finished", "run the same command again: it resumes")
        return cls(folder)

    def _take_lock(self) -> None:
        lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(lock, 32).decode() or "?"
            os.close(lock)
            raise CallgrainError(
                f"{self.folder} is in use by process {holder}", "wait for it, or end it; then run again: it resumes"
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._lock = lock  # held until the process ends: the kernel lets go of it even after kill -9

    def journal(self, name: str, *, keyed: bool = True) -> Journal:
        """The journal `<name>.jsonl` of this run, open for appending."""
        return Journal(self.folder / f"{name}.jsonl", keyed=keyed)

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Records of `<name>.jsonl`, for reading; none where there is no such file."""
        path = self.folder / f"{name}.jsonl"
        if path.exists():
            for _, row in read_rows(path, Quarantine(strict=True)):
                yield row

    def replace_rows(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Put a derived table in place whole: readings are computed anew from the journals."""
        write_atomic(self.folder / f"{name}.jsonl", (dumps(row) + b"\n" for row in rows))

    def read(self, name: str) -> Any:
        """`<name>.json` of this run. Raises BadInput."""
        return read_json(self.folder / f"{name}.json")

    def write(self, name: str, value: Any) -> None:
        """`<name>.json` of this run, atomically."""
        write_json(self.folder / f"{name}.json", value)

    @property
    def is_done(self) -> bool:
        """Whether the run has come to its end."""
        return (self.folder / "done.json").exists()

    def finish(self, summary: dict[str, Any]) -> None:
        """Write `done.json`, last of all, and let go of the folder."""
        self.write("done", {**summary, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        self.close()

    def log(self, line: str) -> None:
        """Add a line to `log.txt`, with the time."""
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}\n")

    def close(self) -> None:
        """Let go of the folder, so that another process may take it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def machine() -> dict[str, str | int]:
    """What this machine is: for the record only, never part of a run's name."""
    from importlib.metadata import version

    return {
        "callgrain": version("callgrain"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cores": os.cpu_count() or 1,
    }
