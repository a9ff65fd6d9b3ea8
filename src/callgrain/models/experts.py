"""Experts over one base, mixed for each prompt: `experts:FOLDER`.

The folder holds `experts/NAME/` (adapters over one base) and `mix.json`, which says how they are mixed:
`{"by": "uniform"}`, `{"by": "best", "expert": NAME}`, `{"by": "fixed", "weights": {NAME: 0.4}}`,
`{"by": "prompt"}` (the base names the kind of task first), `{"by": "classifier", "router": NAME}` (an expert
does). `experts:FOLDER,by=prompt` overrules it. Names of experts are the kinds of task that are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from callgrain.core.errors import UnknownName
from callgrain.core.protocols import Tier
from callgrain.core.types import Prompt, Reply
from callgrain.models import _experts
from callgrain.models._load import load
from callgrain.models.local import Local, LocalRecipe


class ExpertsRecipe(LocalRecipe):
    """How experts over a model on this machine are asked."""

    by: str = Field(default="", description="base, uniform, best, fixed, prompt, classifier; empty: as mix.json says")


class Experts:
    """A base on this machine with experts: `Experts("FOLDER", **ExpertsRecipe's fields)`.

    Each reply is what the base with that prompt's mix would have said to the prompt alone. Where a first
    pass names the kind of task, its tokens are part of the reply's usage, and stand apart in `route_prompt_tokens` and
    `route_completion_tokens`; a kind that cannot be read gets the base as it is. The weights are this object's
    own. Raises BadInput, BrokenModel and UnknownName for a folder that does not fit together.
    """

    settings = ExpertsRecipe
    tier: Tier = "scores"

    def __init__(self, rest: str, **options: Any) -> None:
        recipe = ExpertsRecipe.resolve(options)
        folder, _, more = rest.partition(",")
        key, _, by = more.partition("=")
        if more and key != "by":
            raise UnknownName("option of experts", key, ("by",))
        self.pack = _experts.read_pack(Path(folder).expanduser(), recipe.by or by)
        loaded = load(self.pack.base, recipe.dialect, device=recipe.device, dtype=recipe.dtype)
        self.name, self.dialect, self.dialect_id = f"experts:{rest}", loaded.dialect, loaded.dialect_id
        self._local = Local.around(loaded, self.name, **recipe.model_dump(exclude={"by"}))
        self._mixture = _experts.Mixture(loaded.model, self.pack.experts)

    @property
    def can_constrain(self) -> bool:
        """Whether `Prompt.constrain` is honoured: as the base's back end does."""
        return self._local.can_constrain

    def answer(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """One Reply a prompt, in order; what cannot be answered is a failure in its Reply."""
        plan = self.pack.plan
        if plan.by in ("prompt", "classifier"):
            router = plan.router if plan.by == "classifier" else ""
            first = self.route(prompts, router)
            mixes = [{label: 1.0} if label else {} for label, _ in first]
            return [_with_route(r, one) for r, (_, one) in zip(self.answer_each(prompts, mixes), first, strict=True)]
        fixed = _experts.uniform(self.pack.names) if plan.by == "uniform" else plan.weights
        return self.answer_each(prompts, [fixed] * len(prompts))

    def answer_each(self, prompts: Sequence[Prompt], mixes: Sequence[_experts.Mix]) -> list[Reply]:
        """One Reply a prompt, each by its own mix; prompts of one mix are decoded together."""
        groups: dict[tuple[tuple[str, float], ...], list[int]] = {}
        for number, mix in enumerate(mixes):
            groups.setdefault(tuple(sorted(mix.items())), []).append(number)
        replies: dict[int, Reply] = {}
        try:
            for mix, numbers in groups.items():
                self._mixture.set(dict(mix))
                replies |= zip(numbers, self._local.answer([prompts[n] for n in numbers]), strict=True)
        finally:
            if len(groups) > 1:  # a fixed mix stays: the next prompts will want it again
                self._mixture.set({})
        return [replies[number] for number in range(len(prompts))]

    def route(self, prompts: Sequence[Prompt], router: str = "") -> list[tuple[str, Reply]]:
        """(kind of task, the reply that names it) of each prompt, by the base or by the expert `router`."""
        asked = [_experts.route_prompt(prompt, self.pack.names) for prompt in prompts]
        said = self.answer_each(asked, [{router: 1.0} if router else {}] * len(asked))
        return [(_experts.label_in(reply.text, self.pack.names), reply) for reply in said]


def _with_route(reply: Reply, first: Reply) -> Reply:
    """The reply with the cost of its first pass."""
    usage = dict(reply.usage)
    for key in ("prompt_tokens", "completion_tokens"):
        spent = first.usage.get(key, 0)
        usage[key] = usage.get(key, 0) + spent
        usage[f"route_{key}"] = spent
    return reply.model_copy(update={"usage": usage})


plugin = Experts
