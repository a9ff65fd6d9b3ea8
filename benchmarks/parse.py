"""`parse`: megabytes a second of each dialect's reader, whole and piece by piece, and what recovery costs.

    python -m benchmarks.parse [--quick]

The floor is `json.loads` of the same calls as one JSON list: it checks nothing, makes no nouns and knows no
dialect, so `ratio` (ours / floor, of the slowest dialect) is below 1 and says how far off we are. A streamed
reading is given in pieces of 4 and of 64 letters; `streamed` says how many times as long it takes as `parse`.
Turns are of usual size (one to four calls), and ours and the floor take turns; the best of ROUNDS counts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from random import Random
from typing import Any

from callgrain.core.types import Call, Message

ROUNDS = 5
WORDS = ("Graz", "two nights", "paris", "it's late", 'a "quoted" word', "$a.id$", "42", "https://example.org/x?y=1")


def turns(n: int) -> list[Message]:
    """`n` turns of one to four calls, some with text in them that looks like marks."""
    rng = Random(7)

    def call(number: int) -> Call:
        arguments: dict[str, Any] = {f"part_{i}": rng.choice(WORDS) for i in range(rng.randint(1, 4))}
        arguments |= {"count": rng.randint(0, 99), "rate": rng.random(), "flags": [True, None, {"deep": "</x>"}]}
        return Call(name=f"find_{rng.randint(0, 40)}", arguments=arguments, label=f"c{number}")

    return [Message(calls=tuple(call(i) for i in range(rng.randint(1, 4)))) for _ in range(n)]


def best(*works: Callable[[], object]) -> list[float]:
    """Seconds of each work: the best of ROUNDS, taken in turns."""
    found = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for index, work in enumerate(works):
            began = time.process_time()
            work()
            found[index] = min(found[index], time.process_time() - began)
    return found


def streamed(dialect: Any, texts: list[str], size: int) -> None:
    """Read every text in pieces of `size` letters."""
    for text in texts:
        stream = dialect.stream()
        for at in range(0, len(text), size):
            stream.feed(text[at : at + size])
        stream.rest()
        stream.close()


def measured(dialect: Any, said: list[Message]) -> dict[str, float]:
    """MB a second (10^6 bytes) whole, of the floor, and of recovery; times as long in pieces."""
    texts = [dialect.write(turn) for turn in said]
    floor = [json.dumps([c.model_dump(mode="json") for c in turn.calls]) for turn in said]
    broken = [f"Sure:\n```json\n{text}\n```" for text in floor]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    seconds = best(
        lambda: [dialect.parse(text) for text in texts],
        lambda: [json.loads(text) for text in floor],
        lambda: streamed(dialect, texts, 4),
        lambda: streamed(dialect, texts, 64),
        lambda: [dialect.recover(text) for text in broken],
    )
    whole, peer, by_4, by_64, recovering = seconds
    return {
        "mb_s": round(megabytes / whole, 1),
        "floor_mb_s": round(sum(len(text.encode()) for text in floor) / 1e6 / peer, 1),
        "streamed_4": round(by_4 / whole, 2),
        "streamed_64": round(by_64 / whole, 2),
        "recover_mb_s": round(sum(len(text.encode()) for text in broken) / 1e6 / recovering, 1),
        "recover_us": round(recovering / len(broken) * 1e6, 1),
        "parse_us": round(whole / len(texts) * 1e6, 1),
    }


def main() -> None:
    """Print one line a dialect, and one JSON object last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true")
    said = turns(500 if parser.parse_args().quick else 4000)

    from callgrain.dialects.chat_template import ChatTemplate
    from callgrain.dialects.compact import Compact
    from callgrain.dialects.json import JsonDialect

    template = ChatTemplate()
    template.may_be_thinking = False
    found = {
        name: measured(dialect, said)
        for name, dialect in (("json", JsonDialect()), ("compact", Compact()), ("chat_template", template))
    }
    for name, figures in found.items():
        print(name, figures)
    slowest = min(found.values(), key=lambda figures: figures["mb_s"])
    print(
        json.dumps(
            {
                "name": "parse",
                "ours": slowest["mb_s"],
                "peer": slowest["floor_mb_s"],
                "ratio": round(slowest["mb_s"] / slowest["floor_mb_s"], 3),
                "unit": "MB/s",
                "n": len(said),
                "dialects": found,
            }
        )
    )


if __name__ == "__main__":
    main()
