"""The protocols: what a plug-in of each family must be able to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, Protocol, runtime_checkable

from callgrain.core.progress import Tell, silent
from callgrain.core.types import Call, Fault, Json, Message, Prompt, Reading, Reply, Sample, Trace, Verdict

Tier = Literal["text", "scores", "weights"]
TIERS: tuple[Tier, ...] = ("text", "scores", "weights")
"""What a model gives and a probe needs, each holding those before it: replies; scores of their tokens; weights."""


@runtime_checkable
class Source(Protocol):
    """Yields Traces: opened with the text behind its name in a SOURCE spec.

    `splits` names what `traces` accepts; the order of traces is the same on every machine.
    Optional: `benchmark = True` where it is measured on and never trained on (a build refuses
    it unless it is forced); `options`, names of settings with their defaults, given by name and written
    `NAME,option=value:REST`; `trace(split, index)`, any one Trace of an endless source (None: this index has
    none); `quarantine`, lines that could not be read; `skipped`, what was left out on purpose, counted by
    reason; `published`, where `fetch` finds it (`sources/_published.py`).
    """

    splits: tuple[str, ...]

    def traces(self, split: str) -> Iterator[Trace]: ...


@dataclass(frozen=True)
class Event:
    """A piece of a turn that is still being said, and certain: text, thought or one whole call."""

    text: str = ""
    thought: str = ""
    call: Call | None = None


@runtime_checkable
class Stream(Protocol):
    """Reads one turn as it comes, in pieces of any size; work is linear in the text.

    `feed` gives what has become certain; an event is never taken back. `rest`, called once after
    the last piece, gives what was held back, and `close` what `parse` gives for the whole text.
    Where that is a Message, all events together are its thought, text and calls.
    """

    def feed(self, chunk: str) -> list[Event]: ...

    def rest(self) -> list[Event]: ...

    def close(self) -> Message | Fault: ...


@runtime_checkable
class Dialect(Protocol):
    """How a model is spoken to. `parse(write(m)) == m` for every assistant turn m.

    `turns` spells the prompt as (role, text) pairs for back ends that have roles of their
    own; `render` is the whole prompt as one text, ready for the assistant to go on from.
    `end` is the text at which the assistant's turn ends. Quirks are undone in `parse`: what
    cannot be read comes back as a form Fault, never as an exception. `stream` reads a turn piece
    by piece (`dialects/_stream.Buffered(self.parse)` will do). Optional: `recover(text)`, the turn
    that a text which `parse` refuses probably means, or None; and `grammar(tools, *, spaced, special)
    -> dialects/_grammar.Grammar`, every turn over those tools as `write` spells it, calls and text
    alike, so that a decoder can be held to it. `spaced` says that the text comes from a tokenizer
    of words, with a blank before each; `special` names tokens that are no text to the decoder.
    """

    end: str

    def turns(self, prompt: Prompt) -> list[tuple[str, str]]: ...

    def render(self, prompt: Prompt) -> str: ...

    def write(self, message: Message) -> str: ...

    def parse(self, text: str) -> Message | Fault: ...

    def stream(self) -> Stream: ...


@runtime_checkable
class Model(Protocol):
    """Answers Prompts, one Reply each, in order. Never raises for a single item.

    Optional: `tier`, the most that it gives (`TIERS`; `text` where it says nothing), and `can_constrain`.
    """

    name: str

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]: ...


@runtime_checkable
class Rehearses(Protocol):
    """A test double that is told the right answers beforehand, by this door and no other."""

    def rehearse(self, samples: Sequence[Sample]) -> None: ...


@runtime_checkable
class SubTask(Protocol):
    """Cuts Samples out of a Trace and grades Replies to them.

    `kinds` are the faults that it can find; `measures` maps each further figure of the
    sub-task to what it means.
    """

    kinds: frozenset[str]
    measures: dict[str, str]

    def samples(self, trace: Trace, rng: Random) -> Iterator[Sample]: ...

    def grade(self, sample: Sample, reply: Reply) -> Verdict: ...


@runtime_checkable
class Grader(Protocol):
    """Judges Replies to Samples as somebody else's grader does (`strict` is the sub-task's own).

    `verdict.ok` is that grader's own yes or no, `verdict.detail` its own name of the error, and
    the faults are that error in our table. A key it cannot read is `not_applicable`.
    """

    def judge(self, sample: Sample, reply: Reply) -> Verdict: ...


@runtime_checkable
class Record(Protocol):
    """A way in which outputs lie recorded on disk, one JSON object an item.

    `fits` says whether a row is of this kind (exactly one built-in kind fits any row); `read`
    gives the Reply in it, with tool names as the prompt has them, and never raises.
    """

    def fits(self, row: Mapping[str, Json]) -> bool: ...

    def read(self, row: Mapping[str, Json], tools: Sequence[str]) -> Reply: ...


@runtime_checkable
class Probe(Protocol):
    """Reads graded samples into Readings.

    `samples` yields what it wants asked beside the pool: a `probes/_pool.Pool`, which is a sequence of
    samples and knows the traces behind them and what the model can do. A prompt's own sampling and `constrain`
    stand; the trait `of` names the pool's sample (its key) that one is made from. `read` gets everything that was
    asked, the pool and every probe's own. Optional: `standard = True`, part of every diagnosis that names no
    probes; `needs`, the tier (`TIERS`) without which it does not run: `text` where it says nothing.
    """

    def samples(self, pool: Sequence[Sample], rng: Random) -> Iterator[Sample]: ...

    def read(self, graded: Sequence[Any]) -> list[Reading]: ...


@runtime_checkable
class Follows(Protocol):
    """A probe that asks again in the light of the replies, round after round, until it yields nothing more.

    `follow` gets everything graded so far and must yield the same samples for the same replies: a resumed run
    comes by here again, and what was asked before is passed over by its key.
    """

    def follow(self, graded: Sequence[Any]) -> Iterator[Sample]: ...


@runtime_checkable
class Examines(Protocol):
    """A probe that needs more of a model than replies: its weights, or the likelihood of given turns.

    `examine` yields JSON rows, each with a `key` of its own, and passes over what `known` rows hold already;
    they lie in `examined_<probe>.jsonl`. `conclude` turns all of them into Readings.
    """

    def examine(
        self, model: Any, pool: Sequence[Sample], known: Sequence[Mapping[str, Any]], tell: Tell
    ) -> Iterator[dict[str, Any]]: ...

    def conclude(self, rows: Sequence[Mapping[str, Any]]) -> list[Reading]: ...


@runtime_checkable
class Retriever(Protocol):
    """Ranks the tools of a catalogue for a request; made from those tools, once (`plugin(tools)`).

    `rank` gives for each request up to `k` pairs (place of the tool, score), best first; equal scores go by place.
    """

    def rank(self, requests: Sequence[str], k: int) -> list[list[tuple[int, float]]]: ...


@runtime_checkable
class Panel(Protocol):
    """Draws a probe's readings as a section of the page; its file has the probe's name.

    `title` heads it; `draw` gets all readings of the run and gives inert markup (`panels/_markup.py`), or
    None where there is nothing to show.
    """

    title: str

    def draw(self, readings: Sequence[Reading]) -> Any: ...


@runtime_checkable
class Method(Protocol):
    """Turns data into a better model: `model/` in the run's folder, whose path it returns.

    `settings` is its recipe, a TrainRecipe with the method's own fields. `inputs` names by content what
    the run hangs on beside the model (rows, pairs, a source), and raises BadInput where that is missing.
    """

    settings: Any

    def inputs(self, recipe: Any) -> dict[str, Any]: ...

    def train(self, recipe: Any, run: Any, tell: Tell = silent) -> Path: ...


@runtime_checkable
class Exporter(Protocol):
    """Writes a trained model into `folder` in one format, and says what a reader of its card must know.

    `export` holds the loaded model, its tokenizer dressed for serving, and the training behind them; `dtypes` are
    the types of weights that the format can write. Raises BadInput for a model that it cannot write.
    """

    dtypes: tuple[str, ...]

    def write(self, export: Any, folder: Path) -> list[str]: ...
