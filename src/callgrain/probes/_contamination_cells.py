"""What one request is asked after: histories with a chosen share of wrong turns, none at all, and mended ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from callgrain.core.canonical import text_key
from callgrain.core.types import Message, Sample, Trace, as_traits
from callgrain.dialects._chat import result_text
from callgrain.probes._contamination_history import ENVIRONMENTS, Exchange, Scene, asked, exchange

CALL_FAULTS = ("wrong_tool", "wrong_value", "wrong_shape")
"""Faults of earlier turns that a call is due in."""
ANSWER_FAULTS = ("needless_call",)
"""Faults of earlier turns that none is due in: they have histories, and a control, of their own."""
FAULTS = (*CALL_FAULTS, *ANSWER_FAULTS)
TURNS, LONG = 4, 8
"""Earlier turns of a history, and of the longer one that tells what length alone does."""
RATES = {"consistent": (0.25, 0.5, 1.0), "healed": (0.5, 1.0)}
"""Shares of wrong turns; the history without one is the same in both environments, and asked once."""
MENDED = ("wrong_tool", "wrong_value")
"""Faults of the histories that are mended: calls that were read and answered."""
WINDOW = 1
"""Latest turns that a window keeps."""
MARK = "this call was wrong: it is not what was asked for"
SO_FAR, AS_IT_IS = "Earlier requests and what came back:", "Earlier requests and what is true of them:"


def cells(scene: Scene, of: str) -> Iterator[Sample]:
    """Every history of one request: at most 32 questions. Nothing where there are too few turns to put before it."""
    if len(scene.calls) < TURNS:
        return
    right = [exchange(trace, scene.tools) for trace in scene.calls]
    yield from _put(scene, of, (), "control", family="calls")
    yield from _put(scene, of, right[:TURNS], "control", family="calls")
    if len(right) >= LONG:
        yield from _put(scene, of, [*right[TURNS:], *right[:TURNS]], "control", family="calls")
    for fault in CALL_FAULTS:
        yield from _rates(scene, of, scene.calls[:TURNS], fault)
    for fault in MENDED:
        yield from _mended(scene, of, fault)
    if len(scene.answers) >= TURNS:
        answers = scene.answers[:TURNS]
        yield from _put(scene, of, [exchange(t, scene.tools) for t in answers], "control", family="answers")
        for fault in ANSWER_FAULTS:
            yield from _rates(scene, of, answers, fault)


def history(scene: Scene, traces: Sequence[Trace], fault: str, environment: str, rate: float) -> list[Exchange]:
    """The earlier turns, of which round(rate times their number) are wrong, or as many as can be.

    Which ones is drawn by the request alone, and the wrong ones of a lower rate are among those of a higher one.
    """
    order = list(range(len(traces)))
    Random(text_key("contamination", scene.base.key)).shuffle(order)
    made = {i: exchange(traces[i], scene.tools, fault, environment) for i in order}
    chosen = [i for i in order if made[i].is_wrong][: round(rate * len(traces))]
    return [made[i] if i in chosen else exchange(trace, scene.tools) for i, trace in enumerate(traces)]


def _rates(scene: Scene, of: str, traces: Sequence[Trace], fault: str) -> Iterator[Sample]:
    for environment in ENVIRONMENTS:
        for rate in RATES[environment]:
            turns = history(scene, traces, fault, environment, rate)
            if any(turn.is_wrong for turn in turns):
                yield from _put(scene, of, turns, "history", fault=fault, environment=environment, rate=rate)


def _mended(scene: Scene, of: str, fault: str) -> Iterator[Sample]:
    turns = history(scene, scene.calls[:TURNS], fault, ENVIRONMENTS[0], 1.0)
    if not any(turn.is_wrong for turn in turns):
        return
    for name, mend in MITIGATIONS.items():
        kept, lead = mend(turns)
        if not kept and not lead:
            continue  # nothing is left: that is the control without a history, and asked already
        by = {"fault": fault, "environment": ENVIRONMENTS[0], "rate": 1.0, "mitigation": name}
        yield from _put(scene, of, kept, "mended", lead=lead, **by)


def _put(
    scene: Scene, of: str, turns: Sequence[Exchange], arm: str, *, lead: str = "", **by: object
) -> Iterator[Sample]:
    messages: tuple[Message, ...] = tuple(m for turn in turns for m in turn.messages)
    sample = asked(scene.base, scene.tools, messages, lead)
    if sample is not None:
        share = sum(turn.is_wrong for turn in turns) / len(turns) if turns else 0.0
        own = {"arm": arm, "turns": len(turns), "share": share, **by}
        yield marked(sample, of, own)


def marked(sample: Sample, of: str, own: Mapping[str, object]) -> Sample:
    """The sample with the probe's own traits, each behind the probe's name."""
    traits = {**sample.traits, "of": of, **as_traits({f"contamination_{k}": v for k, v in own.items()})}
    return sample.model_copy(update={"traits": traits})


# mitigations ---------------------------------------------------------------------------------

Mended = tuple[list[Exchange], str]
"""What is left of the history, and what is said before the request."""


def _prune(turns: Sequence[Exchange]) -> Mended:
    return [turn for turn in turns if not turn.is_wrong], ""


def _mark(turns: Sequence[Exchange]) -> Mended:
    return [_as_wrong(turn) if turn.is_wrong else turn for turn in turns], ""


def _as_wrong(turn: Exchange) -> Exchange:
    results = tuple(r.model_copy(update={"value": None, "error": MARK}) for r in turn.results)
    return Exchange(turn.request, turn.turn, results, turn.note, turn.closing, is_wrong=True, state=turn.state)


def _summarise(turns: Sequence[Exchange]) -> Mended:
    came = ["; ".join(result_text(r) for r in turn.results) or turn.note or turn.turn.text for turn in turns]
    return [], "\n".join([SO_FAR, *(f"- {t.request} -> {text}" for t, text in zip(turns, came, strict=True)), ""])


def _window(turns: Sequence[Exchange]) -> Mended:
    return list(turns[-WINDOW:]), ""


def _re_derive(turns: Sequence[Exchange]) -> Mended:
    return list(turns), "\n".join([AS_IT_IS, *(f"- {turn.request} -> {turn.state}" for turn in turns), ""])


MITIGATIONS: dict[str, Callable[[Sequence[Exchange]], Mended]] = {
    "prune": _prune,
    "mark": _mark,
    "summarise": _summarise,
    "window": _window,
    "re_derive": _re_derive,
}
"""Left out; said to be wrong; one summary in the history's place; the last turns alone; the true state said anew."""
