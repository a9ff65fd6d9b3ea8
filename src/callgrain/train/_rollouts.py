"""Groups of replies drawn from the model under training, graded by the sub-task that asked.

Samples are cut from a source with the tools of their own trace, whole answers and all: a build's rows
keep no more than one target turn of what is right. The weights that draw are the weights that learn,
and no reply hangs on anything but them, the seed and the number of the draw, so a resumed run draws
what the interrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Any

from callgrain.core import plugins
from callgrain.core.canonical import text_key
from callgrain.core.errors import BadInput, UnknownName
from callgrain.core.progress import Tell, silent
from callgrain.core.protocols import Source
from callgrain.core.types import Reply, Sample, Sampling, Verdict
from callgrain.models import _decode
from callgrain.models._forest import Document
from callgrain.models.local import Local
from callgrain.probes._asking import judged
from callgrain.probes._graded import SUBTASKS, subtask_of
from callgrain.probes._pool import Row, pool
from callgrain.sources._open import open_source
from callgrain.train._advantages import has_spread
from callgrain.verify.faults import LEVELS, TABLE
from callgrain.verify.reward import REWARDS, Reward

if TYPE_CHECKING:
    from callgrain.models._load import Loaded


BATCH_SIZE = 64
"""Most replies that are drawn together."""


@dataclass(frozen=True)
class Drawing:
    """How a group is drawn: `group` replies to each prompt, of `max_tokens` at most."""

    group: int
    temperature: float
    max_tokens: int
    constrain: bool = False
    seed: int = 0

    def sampling(self, step: int, number: int) -> Sampling:
        """How reply `number` of a group is drawn at `step`."""
        seed = text_key("rollout", str(self.seed), str(step), str(number)) >> 1  # 63 bits: a signed integer anywhere
        return Sampling(temperature=self.temperature, max_tokens=self.max_tokens, seed=seed)


@dataclass(frozen=True)
class Drawn:
    """A reply with its token ids (the end token's included), its verdict, and its reward: None where it has none."""

    sample: Sample
    reply: Reply
    ids: tuple[int, ...]
    verdict: Verdict
    reward: float | None

    @property
    def free(self) -> tuple[bool, ...]:
        """Which tokens the model chose: one that a grammar forced has a log-prob of exactly 0."""
        logprobs = self.reply.logprobs
        if not self.sample.prompt.constrain or logprobs is None:
            return (True,) * len(self.ids)
        return tuple(logprob < 0 for logprob in logprobs)


@dataclass(frozen=True)
class Group:
    """All replies to one prompt, given as token ids."""

    prompt: tuple[int, ...]
    drawn: tuple[Drawn, ...]

    @property
    def rewards(self) -> list[float | None]:
        """The reward of each reply."""
        return [one.reward for one in self.drawn]

    @property
    def document(self) -> Document:
        """The prompt once, and every reply that has a reward as a branch."""
        return Document(self.prompt, tuple(one.ids for one in self.drawn if one.reward is not None))


class Speaker(Local):
    """A Local that also reads what somebody else drew: `Speaker.around(loaded)`."""

    @property
    def ending(self) -> _decode.Ending:
        """Where turns end."""
        return self._ending

    def read(self, ids: Sequence[int]) -> Reply:
        """The Reply that token ids are; ids without an end were cut off."""
        row = _decode.Row(prompt=[], limit=max(1, len(ids)), temperature=0.0, top_p=1.0, seed=0)
        row.tokens = list(ids)
        text = _decode.text_of_ids(self._tokenizer, ids)
        row.ended = bool(ids) and (ids[-1] in self._ending.ids or bool(self._ending.text and self._ending.text in text))
        return self._reply(row)


class Rollouts:
    """Draws and grades groups with the weights of the loaded model as they stand; no copy is made of them.

    Raises BadInput where replies are to be constrained and cannot be.
    """

    def __init__(self, loaded: Loaded, drawing: Drawing, reward: str) -> None:
        self.drawing = drawing
        self.reward: Reward = reward_of(reward)
        self._loaded = loaded
        self._speaker = Speaker.around(loaded, batch_size=BATCH_SIZE)
        if drawing.constrain and not self._speaker.can_constrain:
            raise BadInput(
                f"replies in the dialect {loaded.dialect_id} cannot be constrained here",
                "pip install 'callgrain[train]' for the masks, or leave --constrain out",
            )

    def draw(self, samples: Sequence[Sample], step: int) -> list[Group]:
        """A group for each sample. The model answers in evaluation mode and goes back to the mode it was in."""
        asked = [
            s.model_copy(update={"prompt": s.prompt.model_copy(update={"constrain": self.drawing.constrain})})
            for s in samples
        ]
        prompts = [
            s.prompt.model_copy(update={"sampling": self.drawing.sampling(step, number)})
            for s in asked
            for number in range(self.drawing.group)
        ]
        modes = [(module, module.training) for module in self._loaded.model.modules()]
        self._loaded.model.eval()
        try:
            replies = self._speaker.answer(prompts)
        finally:
            for module, mode in modes:
                module.training = mode
        size = self.drawing.group
        return [self._graded(s, replies[at * size : (at + 1) * size]) for at, s in enumerate(asked)]

    def _graded(self, sample: Sample, replies: Sequence[Reply]) -> Group:
        drawn = tuple(paid(self._loaded.tokenizer, sample, reply, self.reward) for reply in replies)
        return Group(served_ids(self._loaded, sample), drawn)


def paid(tokenizer: Any, sample: Sample, reply: Reply, reward: Reward) -> Drawn:
    """The reply as its sub-task grades it, with what that is worth; a reply without tokens is worth nothing."""
    ids = tuple(int(i) for i in tokenizer.convert_tokens_to_ids(list(reply.tokens or ())))
    verdict = judged(subtask_of(sample.subtask).grade, sample, reply)
    return Drawn(sample, reply, ids, verdict, reward.of(sample, reply, verdict) if ids else None)


def served_ids(loaded: Loaded, sample: Sample) -> tuple[int, ...]:
    """The prompt as token ids, as a local model is served it."""
    text = loaded.dialect.render(sample.prompt)
    return tuple(_decode.prompt_ids(loaded.tokenizer, text, templated=loaded.dialect_id == "chat_template"))


def reward_of(name: str) -> Reward:
    """The reward of that name. Raises UnknownName."""
    if name not in REWARDS:
        raise UnknownName("reward", name, REWARDS)
    return REWARDS[name]


def chosen_subtasks(text: str) -> list[str]:
    """Sub-tasks out of a comma list, in reading order; `all` is every one. Raises UnknownName."""
    known = plugins.names("subtasks")
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    for name in wanted:
        if name not in (*known, "all"):
            raise UnknownName("sub-task", name, [*known, "all"])
    everything = not wanted or "all" in wanted
    return [n for n in (*SUBTASKS, *sorted(set(known) - set(SUBTASKS))) if n in known and (everything or n in wanted)]


def train_source(source: str, split: str) -> tuple[Source, str]:
    """(source, split), the split that is to be trained on where none is named.

    Raises BadInput for a benchmark, which is measured on and never trained on; and what opening it raises.
    """
    opened, named = open_source(source, split=split)
    if getattr(opened, "benchmark", False):
        raise BadInput(f"{source} is a benchmark", "draw replies to another source: what is reported is not trained on")
    return opened, named if split else next((s for s in opened.splits if s == "train"), opened.splits[0])


def cut_samples(
    source: str, split: str, subtasks: Sequence[str], counts: tuple[int, int], seed: int, tell: Tell = silent
) -> tuple[list[Sample], list[Sample]]:
    """(samples to train on, samples to watch): `counts` of each, in equal parts by sub-task, of different traces.

    At most one sample a trace and sub-task, `decide` balanced over its branches; of a source with too few traces
    a fifth is watched at most. Raises BadInput where the source yields none, or is a benchmark.
    """
    opened, chosen = train_source(source, split)
    train, watch = (-(-count // len(subtasks)) for count in counts)

    def cut(n: int, others: Sequence[Row] = ()) -> list[Row]:
        keys = {key for key, _ in others}
        return pool((t for t in opened.traces(chosen) if t.key not in keys), subtasks, n, seed, tell) if n else []

    watched = cut(watch)
    kept = cut(train, watched)
    if watched and len(kept) < min(train * len(subtasks), 4 * len(watched)):
        watched = watched[:: -(-5 * len(watched) // (len(kept) + len(watched)))]
        kept = cut(train, watched) or watched
    if not kept:
        raise BadInput(f"{source} ({chosen}) has no sample for {', '.join(subtasks)}", "try another split")
    return _spread([sample for _, sample in kept], counts[0]), _spread([sample for _, sample in watched], counts[1])


def _spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most `most` of the samples, the sub-tasks taking turns."""
    queues: dict[str, list[Sample]] = {}
    for sample in samples:
        queues.setdefault(sample.subtask, []).append(sample)
    longest = max(map(len, queues.values()), default=0)
    return [queue[at] for at in range(longest) for queue in queues.values() if at < len(queue)][:most]


def components(groups: Sequence[Group]) -> dict[str, float]:
    """Every part of what was earned: shares in [0, 1] over graded replies, lengths in tokens.

    `fault_<level>`: the worst fault is of that level. `calls` and `abstentions`: replies that make calls, and
    readable ones that make none; `right` where no fault is one of decision. `entropy`: the mean of minus
    log p over drawn tokens, at temperature 1 an unbiased estimate. `alike`: groups without any spread.
    """
    drawn = [one for group in groups for one in group.drawn]
    paid = [one for one in drawn if one.reward is not None]
    n = max(1, len(paid))
    firsts = [TABLE[one.verdict.first.kind].level if one.verdict.first else "" for one in paid]
    turns = [(one.reply.message, level != "decision") for one, level in zip(paid, firsts, strict=True)]
    calls = [right for message, right in turns if message is not None and message.calls]
    silent_turns = [right for message, right in turns if message is not None and not message.calls]
    logprobs = [p for one in paid for p in one.reply.logprobs or ()]
    return {
        "reward": fsum(one.reward or 0.0 for one in paid) / n,
        "ok": sum(one.verdict.ok for one in paid) / n,
        **{f"fault_{level}": firsts.count(level) / n for level in LEVELS},
        "calls": len(calls) / n,
        "calls_right": sum(calls) / n,
        "abstentions": len(silent_turns) / n,
        "abstentions_right": sum(silent_turns) / n,
        "length": fsum(len(one.ids) for one in paid) / n,
        "cut_off": sum(one.reply.fault is not None and one.reply.fault.kind == "truncated" for one in paid) / n,
        "entropy": -fsum(logprobs) / max(1, len(logprobs)),
        "alike": sum(not has_spread(group.rewards) for group in groups) / max(1, len(groups)),
        "ungraded": float(len(drawn) - len(paid)),
    }
