"""TokenSkip: the least important tokens of every chain are dropped, down to a ratio that the prompt names (arXiv 2502.12067)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cotexp.compressions.base import Compression, Encoder, StoredSettings, Tools
from cotexp.records import Compressed, Rationale
from cotexp.settings.base import setting
from cotexp.settings.models import ScratchModel


@dataclass(slots=True, kw_only=True)
class TokenSkip(Compression):
    """Drop the least important tokens of every chain, down to a ratio that the prompt names (TokenSkip)."""

    ranks_tokens: ClassVar[bool] = True
    asked_by: ClassVar[Literal["ratio"]] = "ratio"

    name: str = setting("tokenskip", "Name of the compression.", choices=("tokenskip",))
    ratios: list[float] = setting(
        [0.9, 0.8, 0.7, 0.6, 0.5],
        "Shares of its tokens that a chain is pruned to, one drawn for each (TokenSkip's; its ratio 1 is the full form, asked for without a ratio).",
        above=0,
        high=1,
    )
    importance: str = setting(
        "surprisal",
        "What ranks the tokens: their surprisal under the model before fine-tuning (ours), or LLMLingua-2's classifier (TokenSkip).",
        choices=("surprisal", "llmlingua2"),
    )
    classifier: str = setting(
        "microsoft/llmlingua-2-xlm-roberta-large-meetingbank",
        "LLMLingua-2's model, a folder or hub id; read only with importance=llmlingua2. Keys hold its weights instead.",
        keyed=False,
        is_path=True,
    )
    protect: bool = setting(True, "Whether numbers and operators are never dropped (ours).")

    @property
    def classifier_path(self) -> str | None:
        return self.classifier if self.importance == "llmlingua2" else None

    def complete(self, settings: Any) -> None:
        settings.evaluation.ratio = settings.evaluation.ratio or min(self.ratios)
        if settings.mixture.full_ratio is None:
            settings.mixture.full_ratio = 1 / (len(self.ratios) + 1)

    def contradictions(self) -> Iterator[str]:
        if not self.ratios or len(set(self.ratios)) < len(self.ratios):
            yield f"ratios must name at least one ratio, and none twice; got {self.ratios}"
        if 1 in self.ratios:
            yield f"ratios must be below 1: chains in full form are mixture.full_ratio's share; got {self.ratios}"

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        asked = settings.evaluation.ratio
        if asked not in self.ratios:
            yield f"evaluation.ratio must be one that compression.ratios trains ({', '.join(map(str, self.ratios))}); got {asked}"
        if isinstance(settings.model, ScratchModel) and self.importance == "surprisal":
            yield "compression.importance must not be 'surprisal' with a model made from scratch, which knows no text before fine-tuning"

    def compress(self, chains: Sequence[Rationale], tools: Tools) -> list[Compressed]:
        """Each chain at the ratio that is drawn for it; the parts of one rationale have one ratio."""
        from cotexp.methods.reasoning import before_answer_part

        encoder, chain_of = tools.encoder(), {each.id: each for each in chains}
        return [
            self._pruned(each, tools.importances[each.id], encoder, tools.seed, goes_on=bool(before_answer_part(each, chain_of))) for each in chains
        ]

    def _pruned(self, chain: Rationale, importances: Sequence[float], encoder: Encoder, seed: int, *, goes_on: bool) -> Compressed:
        from cotexp.methods import pruning, reasoning

        text = encoder.readable(chain.cot.strip())
        ids, spans = encoder.text_ids(text, goes_on=goes_on), encoder.spans(text, goes_on=goes_on)
        units = pruning.units(text, spans, protect=self.protect)
        assert len(ids) == len(importances), f"{chain.id} has {len(ids)} tokens and {len(importances)} importances"
        ratio = pruning.draw_ratio(chain.id.removesuffix(f"/{reasoning.THINKING}"), self.ratios, seed)
        kept = pruning.keep(units, importances, ratio)
        short = encoder.decode([ids[each] for each in kept.tokens]).strip()
        return Compressed(
            rationale_id=chain.id,
            text=short,
            kept_round=1,
            num_tokens=encoder.count(short),
            num_tokens_original=chain.num_cot_tokens,
            stop_reason="protected" if kept.exceeded else "none",
            num_rounds_run=0,
            ratio=ratio,
        )

    @classmethod
    def disclosures(cls, settings: StoredSettings) -> Iterator[str]:
        own = settings["compression"]
        ranked = "LLMLingua-2's classifier" if own["importance"] == "llmlingua2" else "their surprisal under the model before fine-tuning"
        protected = "numbers and operators are never dropped" if own["protect"] else "nothing is protected"
        ratios = ", ".join(f"{each:g}" for each in own["ratios"])
        yield (
            f"Our choice beside TokenSkip: tokens of the target model, ranked by {ranked}, dropped word by word; {protected}; one ratio of "
            f"{ratios} drawn for each chain, share of full chains {settings['mixture']['full_ratio']:.2g}."
        )
