"""The importance of the words of a text by LLMLingua-2, through the documented interface of its package.

The package returns the words that it keeps at a rate, but no probabilities. So the importance of a word is the share of the rates 0.05, 0.10, ...
0.95 at which it is kept. This is the classifier's order in twenty steps, within the 512 tokens that it reads at once.
Source: LLMLingua-2 (Pan et al. 2024), package llmlingua 0.2.2.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from cotexp.settings.base import ConfigError, RunFailed

RATES = [step / 20 for step in range(1, 20)]
KNOWN = ("xlm-roberta-large", "bert-base-multilingual-cased")
"""The path of the model must contain one of these names, from which the package infers how tokens mark the start of a word."""
WORD_END, LABEL_START = "\x1e", "\x1f"


def check(folder: Path) -> None:
    """Raises: ConfigError if the package is missing or cannot use the model in `folder`."""
    if importlib.util.find_spec("llmlingua") is None:
        raise ConfigError(
            "compression.importance=llmlingua2 needs the package llmlingua: pip install 'cotexp[llmlingua]'; importance=surprisal needs none"
        )
    if not any(each in str(folder) for each in KNOWN):
        raise ConfigError(f"compression.classifier must be a model of LLMLingua-2, with {' or '.join(KNOWN)} in its path; got {str(folder)!r}")


class Classifier:
    """LLMLingua-2 in memory.

    Raises: RunFailed if it cannot be loaded; the package fetches a table of tiktoken on its first use.
    """

    def __init__(self, folder: Path, device: str) -> None:
        from llmlingua import PromptCompressor

        try:
            self.compressor: Any = PromptCompressor(model_name=str(folder), use_llmlingua2=True, device_map=device)
        except OSError as error:
            reason = str(error).strip().splitlines()[0]
            raise RunFailed(f"compression.classifier: llmlingua cannot load {folder}, or tiktoken's table from the network ({reason})") from None

    def words(self, text: str) -> list[tuple[str, float]]:
        """The words of a text in order, each with the share of RATES at which it is kept."""
        kept: list[int] = []
        words: list[str] = []
        for rate in RATES:
            found = self.compressor.compress_prompt_llmlingua2([text], rate=rate, return_word_label=True, word_sep=WORD_END, label_sep=LABEL_START)[
                "fn_labeled_original_prompt"
            ]
            pairs = [each.rpartition(LABEL_START) for each in found.split(WORD_END)] if found else []
            words = [word for word, _, _ in pairs]
            labels = [int(label) for _, _, label in pairs]
            kept = [count + label for count, label in zip(kept or [0] * len(labels), labels, strict=True)]
        return [(word, count / len(RATES)) for word, count in zip(words, kept, strict=True)]
