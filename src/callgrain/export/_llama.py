"""A GGUF file under llama.cpp, where llama-cpp-python is installed: greedy replies with log-probs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from callgrain.core.types import Prompt
from callgrain.models import _decode
from callgrain.models._load import Loaded


def field_of(file: Path, name: str) -> Any:
    """A field of the file's metadata; None where it is not there."""
    from gguf import GGUFReader

    field = GGUFReader(file).get_field(name)
    return field.contents() if field else None


def has_tokenizer(file: Path) -> bool:
    """Whether llama.cpp can make token ids with what the file holds."""
    return field_of(file, "tokenizer.ggml.model") not in (None, "none")


def template_of(file: Path) -> str | None:
    """The chat template in the file."""
    found = field_of(file, "tokenizer.chat_template")
    return found if isinstance(found, str) else None


def replay(
    file: Path, trained: Loaded, prompts: Sequence[Prompt]
) -> Iterator[tuple[tuple[str, ...], tuple[float, ...]]]:
    """(tokens, natural log-probs) of each greedy reply; token ids are those of the trained tokenizer."""
    import numpy as np

    library: Any = import_module("llama_cpp")  # in no extra: it is built from source, which takes minutes
    words: Any = trained.tokenizer
    ending = _decode.ending_of(words, [], trained.dialect.end)
    rows = [
        _decode.prompt_ids(words, trained.dialect.render(p), templated=trained.dialect_id == "chat_template")
        for p in prompts
    ]
    longest = max((len(ids) + p.sampling.max_tokens for ids, p in zip(rows, prompts, strict=True)), default=1)
    llm: Any = library.Llama(model_path=str(file), n_ctx=longest + 1, verbose=False)
    for ids, prompt in zip(rows, prompts, strict=True):
        llm.reset()
        llm.eval(ids)
        drawn: list[int] = []
        logprobs: list[float] = []
        while len(drawn) < prompt.sampling.max_tokens:
            pointer = library.llama_get_logits_ith(llm.ctx, -1)
            logits: Any = np.ctypeslib.as_array(pointer, shape=(llm.n_vocab(),)).astype(np.float64)
            token = int(logits.argmax())
            drawn.append(token)
            logprobs.append(float(-np.log(np.exp(logits - logits[token]).sum())))
            if token in ending.ids or (
                ending.text and ending.text in _decode.text_of_ids(words, drawn[-ending.window :])
            ):
                break
            llm.eval([token])
        yield tuple(str(t) for t in words.convert_ids_to_tokens(drawn)), tuple(logprobs)
