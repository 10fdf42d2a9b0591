#!/usr/bin/env bash
# One would expect a server with OpenAI's API to sample if a request names a temperature above 0. `transformers serve` samples only if the model's
# generation_config.json contains do_sample=true: without it, every temperature, top_p and seed gives the greedy text, with status 200. Where it
# samples, the seed is that of the whole process: texts that are asked for at the same time take each other's numbers, and a seed repeats nothing.
# Why it matters here: several rationales per question, or a compressor at a temperature, would silently be copies. The API engine warns when no
# prompt has two different samples, and docs/servers.md says what to set.
# Source: transformers/cli/serving/utils.py (BaseHandler._build_generation_config, set_torch_seed).
set -euo pipefail
folder=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "transformers==5.23.0" "fastapi==0.165.0" "uvicorn==0.54.0" "openai==3.54.0" "accelerate==1.15.0" "pydantic==2.14.3" "rich==15.0.0" "requests==2.34.2"
cat > "$folder/model.py" <<'PYTHON'
import sys
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, __version__

print("transformers", __version__)
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE(vocab={each: number for number, each in enumerate(alphabet)}, merges=[]))
tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>")
fast.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
torch.manual_seed(0)
ids = {"eos_token_id": fast.eos_token_id, "pad_token_id": fast.pad_token_id, "bos_token_id": None}
model = LlamaForCausalLM(LlamaConfig(vocab_size=len(fast), hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, **ids))
for sample in (False, True):
    model.generation_config.update(do_sample=sample or None)
    model.save_pretrained(f"{sys.argv[1]}/{sample}")
    fast.save_pretrained(f"{sys.argv[1]}/{sample}")
PYTHON
cat > "$folder/ask.py" <<'PYTHON'
import json
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

url, model = sys.argv[1:3]


def text(seed):
    fields = {"model": model, "messages": [{"role": "user", "content": "Name a number."}], "temperature": 1.0, "seed": seed, "max_tokens": 12}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(fields).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


for _ in range(600):
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5)
        break
    except OSError:
        time.sleep(0.5)
different = len({text(seed) for seed in range(8)})
repeated = len({text(5) for _ in range(16)})
with ThreadPoolExecutor(16) as pool:
    at_once = len(set(pool.map(text, [5] * 16)))
print(f"{different} different texts of 8 seeds at temperature 1; {repeated} of 16 with one seed, one after another; {at_once} of 16, all at once")
print(different, repeated, at_once, file=open(sys.argv[3], "w"))
PYTHON
"$folder/venv/bin/python" "$folder/model.py" "$folder" 2>/dev/null
for sample in False True; do
  port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  HF_HUB_OFFLINE=1 "$folder/venv/bin/transformers" serve "$folder/$sample" --host 127.0.0.1 --port "$port" --device cpu --dtype float32 > "$folder/$sample.log" 2>&1 &
  server=$!
  echo "do_sample in generation_config.json: $sample"
  "$folder/venv/bin/python" "$folder/ask.py" "http://127.0.0.1:$port" "$folder/$sample" "$folder/$sample.txt" || { tail -n 20 "$folder/$sample.log"; exit 1; }
  kill "$server"; wait "$server" 2>/dev/null || true
  server=""
done
read -r greedy _ _ < "$folder/False.txt"
read -r sampled repeated at_once < "$folder/True.txt"
[ "$greedy" -eq 1 ] && [ "$sampled" -gt 1 ] && [ "$repeated" -eq 1 ] && [ "$at_once" -gt 1 ]
