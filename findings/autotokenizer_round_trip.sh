#!/usr/bin/env bash
# One would expect that a tokenizer that was saved by save_pretrained comes back from AutoTokenizer with the same rules: tokenizer.json holds
# all of them, and tokenizer_config.json names the class that read it. Where config.json says qwen2 or qwen3_5, AutoTokenizer takes its
# own class for that kind of model whatever tokenizer_class says; that class keeps vocabulary and merges and replaces normalizer,
# pre_tokenizer and decoder. The ids change without a word, while texts still decode to themselves.
# Why it matters here: a run's own checkpoint, reloaded by AutoTokenizer, would be asked with other ids than it was trained on, and an
# export can name no class that prevents it. The product reads tokenizer.json, and the card of such an export names PreTrainedTokenizerFast.
# Source: transformers/models/auto/tokenization_auto.py, MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS; models/qwen2/tokenization_qwen2.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "transformers==5.23.0" "tokenizers==0.23.3"
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import json
import sys
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

print("transformers", transformers.__version__, "tokenizers", tokenizers.__version__)
own = Tokenizer(models.BPE())
own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
own.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
own.train_from_iterator(["Ann has 1234 apples and 1999 pens. Ben has 1234 pens and 1999 apples."] * 20, trainer)
before = PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<|end|>")
text, different = "Ann has 1234 apples and 1999 pens.", {}
for kind in ("llama", "mistral", "qwen2", "qwen3_5"):
    folder = Path(kind)
    before.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    named = json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"]
    after = AutoTokenizer.from_pretrained(folder)
    by_file = PreTrainedTokenizerFast.from_pretrained(folder)
    assert by_file(text)["input_ids"] == before(text)["input_ids"]
    assert after.decode(after(text)["input_ids"]) == text
    different[kind] = after(text)["input_ids"] != before(text)["input_ids"]
    print(f"{kind}: tokenizer_class {named}, read as {type(after).__name__}: {len(before(text)['input_ids'])} tokens, then {len(after(text)['input_ids'])}")
if different != {"llama": False, "mistral": False, "qwen2": True, "qwen3_5": True}:
    sys.exit(f"the behaviour has changed: {different}")
PYTHON
