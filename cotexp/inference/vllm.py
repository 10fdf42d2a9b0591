"""Generation with vLLM, an optional package, on the NVIDIA GPUs of this machine.

Each copy of the model has its own process and GPUs: vLLM refuses several copies in one process, and a copy's GPU memory is free for training
only after its process ended. Texts are divided among the copies, which do not communicate.
Prompts and texts are exchanged as token ids, so chat form, `<compress>`, ends of texts and counts are the same as for other engines.
Rounding depends on the other texts of a batch, and a text depends on rounding. vLLM promises no more; seeds repeat samples up to rounding.

Source: vLLM's documented interface, `vllm.LLM` and `vllm.SamplingParams` (https://docs.vllm.ai/en/stable/api/vllm/).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from cotexp.inference.engine import EncodedRequest, Output, Request, room, seed_of
from cotexp.models import identity
from cotexp.models.encoding import Encoder
from cotexp.models.identity import ModelFiles
from cotexp.models.tokenizer import load_tokenizer
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling

ROWS_AT_ONCE = 1024
"""Texts that each copy receives at once: enough to use a GPU fully. A killed run writes at most this many again."""

END_SECONDS = 20.0
"""A copy that does not end within this time is killed, with its child processes."""


def check(model: PretrainedModel, setting: str, files: ModelFiles | None = None) -> None:
    """Check that vLLM can run this model here. Raises: ConfigError if not; `setting` is the path of the model's settings."""
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            f"{setting}.engine=vllm needs the package vllm, which is not installed; "
            f"pip install 'cotexp[vllm]' in a separate environment, because it brings another torch, or use {setting}.engine=local"
        )
    if not identity.has_cuda():
        offers = "this machine's drivers and build of torch offer none"
        raise ConfigError(f"{setting}.engine=vllm needs an NVIDIA GPU, and {offers}; use {setting}.engine=local")
    wanted, found = model.vllm.tensor_parallel_size * model.vllm.data_parallel_size, len(identity.visible_gpus())
    if wanted > found:
        raise ConfigError(f"{setting}.vllm: tensor_parallel_size times data_parallel_size must be at most the number of GPUs ({found}); got {wanted}")
    config = files.folder / "config.json" if files else None
    if config and config.is_file() and json.loads(config.read_bytes()).get("is_encoder_decoder"):
        raise ConfigError(f"{setting}.engine=vllm needs a causal model, and {setting}.path is an encoder-decoder; use {setting}.engine=local")


class VllmEngine:
    """Generates with the causal model in `folder`, which must have whole weights: vLLM loads no adapters that train a token's row.

    Raises: RunFailed if vLLM cannot load it.
    """

    def __init__(self, folder: Path, model: PretrainedModel) -> None:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
        tokenizer = load_tokenizer(folder, model)
        self.settings = model.vllm
        self.encoder = Encoder.of(tokenizer, compress_token=model.compress_token, literal=model.literal_encoding)
        self.stop_ids = {self.encoder.eos_id, *_named_ends(folder, config), *tokenizer.convert_tokens_to_ids(model.stop_tokens)}
        self.special_ids = set(tokenizer.all_special_ids)
        self.context_length: int | None = model.context_length or getattr(config.get_text_config(), "max_position_embeddings", None)
        arguments = {
            "model": str(folder),
            "tokenizer": str(folder),
            "dtype": model.dtype,
            "seed": 0,
            "tensor_parallel_size": self.settings.tensor_parallel_size,
            "gpu_memory_utilization": self.settings.gpu_memory_utilization,
            "max_model_len": self.settings.max_model_len or model.context_length,
            "trust_remote_code": model.trust_remote_code,
            "generation_config": "vllm",  # the one in the model's folder would change lengths and ends of texts
        }
        gpus, size = identity.visible_gpus(), self.settings.tensor_parallel_size
        self.copies: list[_Copy] = []
        self._end = weakref.finalize(self, _end_all, self.copies)
        for number in range(self.settings.data_parallel_size):
            self.copies.append(_Copy(arguments, gpus[number * size : (number + 1) * size]))
        for _ in _replies(self.copies):
            pass

    def generate(self, requests: Sequence[Request], sampling: Sampling, on_output: Callable[[Output], None]) -> None:
        """Generate all requests, divided among the copies; `on_output` is called when a copy has written its share.

        A prompt that fills the model's context ends as "overflow". A text that reaches the end of the context ends as "length".
        Raises: RunFailed if vLLM fails, or was started for shorter texts than these.
        """
        started, rows = time.perf_counter(), []
        for each in requests:
            prompt = self.encoder.prompt(each.prompt, compressed=each.compressed, ratio=each.ratio)
            row = EncodedRequest(each, prompt, room(len(prompt), sampling.max_new_tokens, self.context_length))
            if row.room:
                rows.append(row)
            else:
                on_output(Output(each.id, "", 0, "overflow", 0.0))
        self._check_length(rows)
        shares = {copy: rows[number :: len(self.copies)] for number, copy in enumerate(self.copies)}
        busy = [copy for copy, share in shares.items() if share]
        for copy in busy:
            copy.send({"prompts": [each.prompt for each in shares[copy]], "sampling": [self._sampling(each, sampling) for each in shares[copy]]})
        for copy, reply in _replies(busy):
            seconds = (time.perf_counter() - started) / len(requests)
            for row, (ids, reason) in zip(shares[copy], reply["outputs"], strict=True):
                on_output(self._output(row, ids, reason, seconds))

    def _sampling(self, row: EncodedRequest, sampling: Sampling) -> dict[str, Any]:
        """Arguments of vLLM's SamplingParams; the defaults of others restrict nothing."""
        parameters = {"temperature": sampling.temperature, "max_tokens": row.room, "stop_token_ids": sorted(self.stop_ids), "detokenize": False}
        parameters |= sampling.restrictions
        return {**parameters, "seed": int.from_bytes(seed_of(row.request, sampling)[:8], "big") >> 1} if sampling.temperature else parameters

    def _output(self, row: EncodedRequest, ids: list[int], reason: str | None, seconds: float) -> Output:
        stopped = bool(ids) and ids[-1] in self.stop_ids  # vLLM may report "length" for a text that ends in the last possible step
        if not stopped and reason != "length":
            raise RunFailed(f"vLLM ended the text {row.request.id} for the reason {reason!r}; run the same command again")
        written = ids[:-1] if stopped else ids
        length = sum(each not in self.special_ids for each in written)
        return Output(row.request.id, self.encoder.decode(written), length, "stop" if stopped else "length", seconds)

    def _check_length(self, rows: Sequence[EncodedRequest]) -> None:
        longest = max((len(each.prompt) + each.room for each in rows), default=0)
        if self.settings.max_model_len is not None and longest > self.settings.max_model_len:
            raise RunFailed(
                f"model.vllm.max_model_len={self.settings.max_model_len} is too short: a prompt and max_new_tokens come to {longest} tokens; "
                "raise it to that"
            )


def _named_ends(folder: Path, config: Any) -> list[int]:
    """Ids that end a text by the folder's generation_config.json, or by config.json without that file."""
    path = folder / "generation_config.json"
    named = json.loads(path.read_bytes()).get("eos_token_id") if path.is_file() else config.get_text_config().eos_token_id
    return named if isinstance(named, list) else [] if named is None else [named]


# --- one copy of the model ----------------------------------------------------------------------------------------------


class _Copy:
    """A process with a copy of the model on `gpus`. It ends with this process."""

    def __init__(self, arguments: dict[str, Any], gpus: Sequence[str]) -> None:
        self.log = Path(tempfile.mkstemp(prefix="cotexp-vllm-", suffix=".log")[1])
        self.connection, other_end = Pipe()
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cotexp.inference.vllm", str(other_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(gpus)},
                pass_fds=[other_end.fileno()],
                start_new_session=True,
            )
        other_end.close()
        self.send(arguments)

    def send(self, content: dict[str, Any]) -> None:
        """Send a message to the copy."""
        with contextlib.suppress(BrokenPipeError):  # `receive` reports what happened
            self.connection.send_bytes(json.dumps(content).encode())

    def receive(self) -> dict[str, Any]:
        """The next reply of the copy. Raises: RunFailed if it reports a failure or its process ended."""
        reply: dict[str, Any] = {"error": "its process ended"}
        with contextlib.suppress(EOFError, ConnectionError):
            if self.process.poll() is None or self.connection.poll():  # its child processes may hold the other end open
                reply = json.loads(self.connection.recv_bytes())
        if "error" in reply:
            raise RunFailed(f"vLLM failed: {reply['error']} (log: {self.log}); nothing already computed is lost")
        return reply

    def end(self) -> None:
        """End the process and its child processes. Remove the log unless the process failed."""
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.wait() == 0:
            self.log.unlink(missing_ok=True)


def _replies(copies: Sequence[_Copy]) -> Iterator[tuple[_Copy, dict[str, Any]]]:
    """One reply of each copy, in order of arrival."""
    waiting = list(copies)
    while waiting:
        ready = wait([each.connection for each in waiting], timeout=1.0)
        for each in [each for each in waiting if each.connection in ready or each.process.poll() is not None]:
            yield each, each.receive()
            waiting.remove(each)


def _end_all(copies: Sequence[_Copy]) -> None:
    for copy in copies:
        copy.end()


def serve(connection: Connection) -> None:
    """Load the model of the first message, then answer messages until the other end is closed."""
    from vllm import LLM, SamplingParams

    llm = LLM(**json.loads(connection.recv_bytes()))
    connection.send_bytes(b"{}")
    while True:
        content = json.loads(connection.recv_bytes())
        prompts = [{"prompt_token_ids": each} for each in content["prompts"]]
        outputs = llm.generate(prompts, [SamplingParams(**each) for each in content["sampling"]], use_tqdm=False)
        written = [(list(each.outputs[0].token_ids), each.outputs[0].finish_reason) for each in outputs]
        connection.send_bytes(json.dumps({"outputs": written}).encode())


def main() -> None:
    os.set_inheritable(int(sys.argv[1]), False)
    connection = Connection(int(sys.argv[1]))
    try:
        serve(connection)
    except EOFError:
        return
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        with contextlib.suppress(OSError):
            connection.send_bytes(json.dumps({"error": f"{type(error).__name__}: {line}"}).encode())
        raise


if __name__ == "__main__":
    main()
