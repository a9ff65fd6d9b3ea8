"""Schema-Guided Dialogue: service dialogues as calls and questions.

Three kinds of Trace (trait `kind`): `call`, the turn at which the system calls a service, with the
conversation before it; `ask`, the turn at which it must ask for a required value instead; `chain`, a
whole dialogue's calls in order, where the user's own words hold every value. Values are canonical in
the calls (2019-03-02) and spoken in the text ("tomorrow"): the spoken forms are accepted too. `rest` is
the folder with train/ and dev/, files plain or packed with xz. CC BY-SA 4.0 reaches derived rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import orjson

from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput
from callgrain.core.rows import Quarantine, read_text
from callgrain.core.types import Trace
from callgrain.sources._folder import check_split, listing, open_folder, round_robin
from callgrain.sources._sgd_dialogue import KINDS, Dialogue, MalformedError
from callgrain.sources._sgd_schema import Services

HELD_OUT: frozenset[str] = frozenset(
    {
        *("Hotels_2", "Movies_1", "Weather_1", "Travel_1", "Services_1", "RideSharing_2"),
        *("Restaurants_2", "Hotels_4", "Alarm_1", "Services_4"),
    }
)
"""Services left out of split `train`: public benchmarks and the held-out test split use them."""

WINDOW = 8
"""Files open at once: SGD groups services by file, so one file alone is no mixture."""


class Sgd:
    """The data set in its own layout. Raises BadInput where neither split is there.

    `held_out` may be replaced: a dialogue of `train` that touches one of these services is passed over.
    """

    splits = ("train", "dev")

    def __init__(self, rest: str) -> None:
        self.folder = open_folder("sgd", rest)
        self.quarantine = Quarantine()
        self.held_out = HELD_OUT
        if not any((self.folder / split).is_dir() for split in self.splits):
            what = f"{rest!r} is no SGD: expected train/ and dev/ with schema.json and dialogues_*.json"
            remedy = "take the folder of google-research-datasets/dstc8-schema-guided-dialogue"
            raise BadInput(f"{what}; found {listing(self.folder)}", remedy)

    def traces(self, split: str) -> Iterator[Trace]:
        """Calls, questions and chains in turn, from a few files at a time, in a fixed shuffled order."""
        check_split("sgd", split, self.splits)
        folder = self.folder / split
        if not folder.is_dir():
            raise BadInput(f"{self.folder} has no {split}/", f"it has {listing(self.folder)}")
        files = sorted(p for p in folder.glob("dialogues_*") if re.fullmatch(r"dialogues_\d+\.json(\.xz)?", p.name))
        if not files:
            raise BadInput(f"{folder} has no dialogues_*.json", f"it has {listing(folder)}")
        schema = next((p for p in (folder / "schema.json", folder / "schema.json.xz") if p.is_file()), None)
        if schema is None:
            raise BadInput(f"{folder} has no schema.json", f"it has {listing(folder)}")
        services = Services(schema)
        without = self.held_out if split == "train" else frozenset[str]()
        Random(text_key("sgd", "files", split)).shuffle(files)
        waiting = iter(files)
        lanes = (self._lane(waiting, split, services, without) for _ in range(WINDOW))
        good = False
        for trace in round_robin(lanes):
            good = True
            yield trace
        if not good and self.quarantine.count:
            raise BadInput(f"{folder} is not in the layout of SGD", f"first: {self.quarantine.first[0]}")

    def _lane(self, files: Iterator[Path], split: str, services: Services, without: frozenset[str]) -> Iterator[Trace]:
        """Traces of one file after the other; the lanes share `files`, so each file is read once."""
        for path in files:
            dialogues = list(self._dialogues(path, split, services, without))
            yield from round_robin([self._kind(path, kind, dialogues) for kind in KINDS])

    def _dialogues(self, path: Path, split: str, services: Services, without: frozenset[str]) -> Iterator[Dialogue]:
        """Every dialogue of a file that can be read, without those that touch a service of `without`."""
        try:
            found = orjson.loads(read_text(path))
        except BadInput as error:
            return self.quarantine.add(path, 1, error.what)
        except orjson.JSONDecodeError as error:
            return self.quarantine.add(path, error.lineno, f"no valid JSON: {error.msg} at column {error.colno}")
        if not isinstance(found, list):
            return self.quarantine.add(path, 1, f"a {type(found).__name__} where a list of dialogues is wanted")
        for place, raw in enumerate(found, start=1):
            try:
                dialogue = Dialogue(raw, place, split, services, without)
            except MalformedError as error:
                self.quarantine.add(path, place, f"dialogue {place} of the file: {error}")
                continue
            if without.isdisjoint(dialogue.services):
                yield dialogue
        return None

    def _kind(self, path: Path, kind: str, dialogues: list[Dialogue]) -> Iterator[Trace]:
        """Traces of one kind, in a fixed shuffled order over all dialogues of a file."""
        jobs = [(dialogue, turn) for dialogue in dialogues for turn in dialogue.places(kind)]
        Random(text_key("sgd", kind, path.name.removesuffix(".xz"))).shuffle(jobs)
        for dialogue, turn in jobs:
            try:
                trace = dialogue.trace(kind, turn)
            except MalformedError as error:
                self.quarantine.add(path, dialogue.place, f"dialogue {dialogue.place} of the file: {error}")
                continue
            if trace is not None:
                yield trace


plugin = Sgd
