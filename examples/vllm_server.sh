#!/usr/bin/env bash
# A vLLM server as the compressor of MACC: start it, wait until it answers, run, end it. vLLM may be in another environment (VLLM=/there/bin/vllm),
# or on another machine: then run only the last command, with its address.
#
#     pip install '.[api]'             # in a clone
#     MODEL=Qwen/Qwen2.5-7B-Instruct TARGET=qwen2_5_1_5b TASK=gsm8k bash examples/vllm_server.sh
#
# docs/servers.md has what the server really answers, and what to do for each of its refusals. A run that is stopped goes on from the stored texts.
set -euo pipefail

model=${MODEL:-Qwen/Qwen2.5-7B-Instruct}
port=${PORT:-8000}

"${VLLM:-vllm}" serve "$model" --served-model-name compressor --port "$port" &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT

until curl --silent --fail "http://127.0.0.1:$port/health" >/dev/null; do
  kill -0 "$server" 2>/dev/null || { echo "the server has ended: see its lines above" >&2; exit 1; }
  sleep 2
done

cotexp run experiment=macc/custom \
  "task=${TASK:-gsm8k}" \
  "model=${TARGET:-qwen2_5_1_5b}" \
  compressor=api \
  compressor.server.service=local \
  compressor.server.model=compressor \
  "compressor.server.base_url=http://127.0.0.1:$port/v1" \
  compressor.server.max_attempts=12 \
  "$@"
