"""Settings of models and of the roles they play: what is fine-tuned, what writes the rationales, what rewrites them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cotexp import credentials
from cotexp.sections import LARGEST_SEED, Section, setting, shortened

# --- model ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Vllm(Section):
    """How engine vllm uses the GPUs of this machine; its texts are the same in any of these ways as far as rounding allows."""

    tensor_parallel_size: int = setting(1, "GPUs over which each copy of the model is split.", low=1, keyed=False)
    data_parallel_size: int = setting(1, "Copies of the model, each with GPUs of its own; texts are divided among them.", low=1, keyed=False)
    gpu_memory_utilization: float = setting(0.9, "Share of each GPU's memory that vLLM takes for weights and cache.", above=0, high=1, keyed=False)
    max_model_len: int | None = setting(
        None, "Most tokens of prompt and text together that vLLM makes room for; the model's context by default.", low=16, keyed=False
    )


@dataclass(slots=True, kw_only=True)
class PretrainedModel(Section):
    """A causal or encoder-decoder language model that transformers can load."""

    name: str = setting("hf", "Short name for tables.", keyed=False)
    path: str = setting("???", "Folder, hub id, or `shipped:NAME` for a model that comes with this package.", keyed=False, is_path=True)
    revision: str | None = setting(None, "Hub revision; the weights' sha256 is part of every key in any case.", keyed=False)
    dtype: str = setting("float32", "Number format of generation; bfloat16 texts depend on the batch.", choices=("float32", "bfloat16"))
    device: str = setting("auto", "Device of generation; its type is part of every key.", choices=("auto", "cpu", "cuda", "mps"), keyed=False)
    devices: str = setting(
        "1",
        "Devices of this machine that engine local uses at once, a process and a copy of the model on each: a number (on a CPU of processes), "
        "or auto for all GPUs.",
        keyed=False,
    )
    engine: str = setting(
        "local", "What generates: transformers, or vLLM on NVIDIA GPUs; part of the keys of all texts.", choices=("local", "vllm"), keyed=False
    )
    compile: bool = setting(
        False, "Whether engine local compiles its steps, over a cache of fixed size; for GPUs. Part of the keys of all texts.", keyed=False
    )
    max_batch_tokens: int = setting(
        32768, "Most tokens in one batch of engine local: texts at once, times the longest prompt with its expected text.", low=1, keyed=False
    )
    vllm: Vllm = setting(Vllm, "How engine vllm uses the GPUs.", keyed=False)
    trust_remote_code: bool = setting(False, "Whether code from the model's repository may run; read it first.")
    compress_token: str = setting("<compress>", "The token that asks for a short chain of thought.")
    literal_encoding: bool = setting(False, "Whether chat models also get `Q EOS <compress> EOS` inside the user turn.")
    system_prompt: str | None = setting(None, "What the system says to a chat model; what its template says without one by default.")
    stop_tokens: list[str] = setting([], "Tokens that end a text, beside the end-of-sequence tokens that the model's files name.")
    context_length: int | None = setting(None, "Most tokens of a prompt and its answer together; the model's own limit by default.", low=16)
    license: str | None = setting(None, "Licence of the weights, for the cards of exports.", keyed=False)

    def contradictions(self) -> Iterator[str]:
        if not self.compress_token.strip():
            yield f"compress_token must not be empty; got {self.compress_token!r}"
        if self.engine == "vllm" and self.device not in ("auto", "cuda"):
            yield f"device must be auto or cuda for engine=vllm, which runs on NVIDIA GPUs; got {self.device!r}"
        if not re.fullmatch(r"auto|[1-9][0-9]{0,2}", self.devices):
            yield f"devices must be a number from 1 to 999, or auto; got {self.devices!r}"
        if self.engine == "vllm" and self.devices != "1":
            yield f"devices must be 1 for engine=vllm, which divides texts by vllm.data_parallel_size; got {self.devices}"
        if self.engine == "vllm" and self.compile:
            yield "compile must be false for engine=vllm, which compiles by itself; got true"


@dataclass(slots=True, kw_only=True)
class GgufModel(PretrainedModel):
    """A model in a GGUF file, also one that a Python package carries; the run turns it into an ordinary folder once."""

    path: str = setting("???", "The GGUF file, or `package:NAME/FILE` for a file of an installed Python package.", keyed=False, is_path=True)


@dataclass(slots=True, kw_only=True)
class ScratchModel(PretrainedModel):
    """A small Llama-shaped model with random weights and a tokenizer trained on the task."""

    path: str = setting("scratch", "Fixed: the model is made by the run itself.", choices=("scratch",), keyed=False)
    vocab_size: int = setting(1024, "Most tokens in the tokenizer's vocabulary.", low=300, most=1_000_000)
    hidden_size: int = setting(128, "Width of the model.", low=8, most=16_384)
    intermediate_size: int = setting(384, "Width of the feed-forward layers.", low=8, most=65_536)
    num_layers: int = setting(3, "Number of layers.", low=1, most=1000)
    num_heads: int = setting(4, "Number of attention heads.", low=1, most=1000)
    max_length: int = setting(1024, "Longest sequence, in tokens.", low=64, most=1_000_000)
    seed: int = setting(0, "Seed of the random weights.", low=0, most=LARGEST_SEED)

    def contradictions(self) -> Iterator[str]:
        yield from PretrainedModel.contradictions(self)
        if any(self._out_of_bounds()):
            return
        if self.hidden_size % self.num_heads:
            yield f"hidden_size must be a multiple of num_heads ({self.num_heads}); got {self.hidden_size}"
        elif self.hidden_size // self.num_heads % 2:
            yield f"hidden_size must give each of the {self.num_heads} heads an even width, for its rotary positions; got {self.hidden_size}"
        layer = 4 * self.hidden_size**2 + 3 * self.hidden_size * self.intermediate_size
        num_weights = self.vocab_size * self.hidden_size + self.num_layers * layer
        if num_weights > MOST_WEIGHTS:
            yield f"hidden_size, intermediate_size, num_layers and vocab_size must make at most {MOST_WEIGHTS} weights; got {shortened(num_weights)}"


MOST_WEIGHTS = 2_000_000_000
"""Of a model made from scratch: 8 GB in float32."""


# --- server -----------------------------------------------------------------------------------------------------------

OWN_FIELDS = ("model", "messages", "temperature", "max_tokens", "max_completion_tokens", "seed", "n", "stream")
"""Fields of a request that other settings decide."""


@dataclass(slots=True, kw_only=True)
class ApiServer(Section):
    """A server that speaks OpenAI's chat completions: a service, or vLLM, SGLang, llama.cpp or `transformers serve` on a machine of yours."""

    service: str = setting("???", "Short name of the service, part of every key in place of its address: openai, deepseek, local, ...")
    model: str = setting("???", "Name of the model at the service.")
    base_url: str = setting(
        "???",
        "Address, mostly ending in /v1; {NAME} stands for the environment variable NAME, for a part that is secret. Another address of the same "
        "service keeps all texts.",
        keyed=False,
    )
    api_key_env: str | None = setting(
        None, "Name of the environment variable that holds the key, such as OPENAI_API_KEY; null for a server without keys.", keyed=False
    )
    input_price: float = setting(0.0, "US dollars per million prompt tokens; cached ones are counted in full.", low=0, keyed=False)
    output_price: float = setting(0.0, "US dollars per million written tokens.", low=0, keyed=False)
    max_cost: float | None = setting(
        None, "Most US dollars that this role's texts of the run may cost, earlier starts included; no limit by default.", above=0, keyed=False
    )
    timeout: float = setting(120.0, "Seconds that one request may take.", above=0, keyed=False)
    max_attempts: int = setting(8, "Most requests for one text, the first included.", low=1, keyed=False)
    token_limit_field: str = setting(
        "max_tokens", "Name under which the server takes max_new_tokens.", choices=("max_tokens", "max_completion_tokens"), keyed=False
    )
    send_seed: bool = setting(True, "Whether each request carries a seed of its own, for servers that know the field.")
    extra_body: str = setting(
        "{}", 'More fields of each request, as a JSON object: \'{"top_p": 0.9}\'; a value "{NAME}" stands for the environment variable NAME.'
    )
    headers_env: str = setting(
        "{}",
        'More headers of each request, as a JSON object that names the environment variable with the value of each: \'{"X-Team": "MY_TEAM"}\'.',
        keyed=False,
    )

    @property
    def extra_fields(self) -> dict[str, Any]:
        """`extra_body` as an object."""
        fields: dict[str, Any] = json.loads(self.extra_body)
        return fields

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that requests need -> the setting that names each."""
        found = dict.fromkeys(credentials.names_in(self.base_url), "base_url")
        found |= dict.fromkeys(credentials.names_in(self.extra_fields), "extra_body")
        found |= dict.fromkeys(json.loads(self.headers_env).values(), "headers_env")
        return found | ({self.api_key_env: "api_key_env"} if self.api_key_env else {})

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        self.extra_body = json.dumps(self.extra_fields, sort_keys=True)

    def contradictions(self) -> Iterator[str]:
        for name in ("service", "model"):
            if not getattr(self, name).strip():
                yield f"{name} must not be empty; got {getattr(self, name)!r}"
            elif credentials.looks_secret(getattr(self, name)):
                yield f"{name} must hold no key, since settings are written to files; what it was given is not repeated here"
        if self.base_url != "???":
            yield from self._wrong_address()
        if self.api_key_env is not None and not _is_variable(self.api_key_env):
            yield "api_key_env must name an environment variable in capitals, such as OPENAI_API_KEY; what it was given is not repeated here"
        if self.max_cost is not None and not (self.input_price and self.output_price):
            yield f"max_cost needs input_price and output_price; got max_cost={self.max_cost} without both"
        yield from self._wrong_headers()
        yield from self._wrong_extra_body()

    def _wrong_address(self) -> Iterator[str]:
        if not re.fullmatch(r"https?://[^\s@?#]+", self.base_url) or not _has_port(self.base_url):
            yield "base_url must be an address that begins http:// or https://, without user name, password or query; the key's place is api_key_env"
        elif credentials.is_secret_address(self.base_url):
            yield (
                "base_url must hold no key, as a part of it may do, since settings are written to files: put that part into an environment variable "
                "and write {NAME} in its place; what it was given is not repeated here"
            )

    def _wrong_headers(self) -> Iterator[str]:
        try:
            headers = json.loads(self.headers_env)
        except (json.JSONDecodeError, RecursionError):
            headers = None
        if not isinstance(headers, dict) or not all(
            re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) and isinstance(value, str) and _is_variable(value) for name, value in headers.items()
        ):
            yield (
                "headers_env must be a JSON object of headers and the environment variables that hold their values, such as "
                '\'{"X-Team": "MY_TEAM"}\'; what it was given is not repeated here'
            )

    def _wrong_extra_body(self) -> Iterator[str]:
        try:
            fields = json.loads(self.extra_body)
        except json.JSONDecodeError as error:
            yield f"extra_body must be a JSON object ({error}); what it was given is not repeated here"
            return
        except RecursionError:
            yield f"extra_body must not be nested deeper than {credentials.DEEPEST} levels"
            return
        if found := list(credentials.secret_fields(fields)):
            named = f" ({', '.join(map(repr, found))})" if all(found) else ""
            yield (
                f"extra_body must hold no key or password, no header and at most {credentials.DEEPEST} levels, since settings are written to "
                f'files{named}: write "{{NAME}}" for the value of an environment variable, and name headers in headers_env'
            )
        elif not isinstance(fields, dict):
            yield f"extra_body must be a JSON object; got a JSON {_KINDS[type(fields)]}, which is not repeated here"
        elif taken := sorted(set(fields) & set(OWN_FIELDS)):
            yield f"extra_body must leave {', '.join(taken)} to the settings of their own; their values are not repeated here"


_KINDS = {list: "list", str: "text", int: "number", float: "number", bool: "truth value", type(None): "null"}


def _has_port(address: str) -> bool:
    """Whether what stands behind the host's colon, if anything does, is a number."""
    try:
        urlsplit(credentials.PLACEHOLDER.sub("1", address)).port  # noqa: B018
    except ValueError:
        return False
    return True


def _is_variable(name: str) -> bool:
    """Whether a text can be the name of an environment variable, and not what one holds."""
    return bool(credentials.VARIABLE.fullmatch(name)) and not credentials.looks_secret(name)


# --- teacher and compressor -------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Sampling(Section):
    """How texts are drawn from a model."""

    temperature: float = setting(0.0, "Sampling temperature; 0 takes the likeliest token.", low=0, high=5)
    max_new_tokens: int = setting(512, "Most tokens generated per text.", low=1, most=10_000_000)
    seed: int = setting(0, "Seed of sampling; each text has its own generator.", low=0, most=LARGEST_SEED)
    batch_size: int = setting(64, "Texts generated at once.", low=1, keyed=False)


@dataclass(slots=True, kw_only=True)
class SelfTeacher(Sampling):
    """The model that is fine-tuned writes the rationales itself (MACC)."""

    name: str = setting("self", "Name of the teacher.", choices=("self",))
    num_samples: int = setting(1, "Rationales per question; a larger pool begins with the smaller one.", low=1, most=10_000)

    def contradictions(self) -> Iterator[str]:
        if self.num_samples > 1 and self.temperature == 0:
            yield f"num_samples must be 1 at temperature 0, where all samples are equal; got {self.num_samples}"


@dataclass(slots=True, kw_only=True)
class LocalTeacher(SelfTeacher):
    """Another local model writes several rationales for each question (MoRSD)."""

    name: str = setting("local", "Name of the teacher.", choices=("local",))
    num_samples: int = setting(
        8, "Rationales per question (MoRSD does not state its own); a larger pool begins with the smaller one.", low=1, most=10_000
    )
    temperature: float = setting(0.7, "Sampling temperature (MoRSD does not state its own); 0 takes the likeliest token.", low=0, high=5)
    model: PretrainedModel = setting(PretrainedModel, "The teacher's model.")


@dataclass(slots=True, kw_only=True)
class ApiTeacher(SelfTeacher):
    """A model behind a server writes several rationales for each question (MoRSD)."""

    name: str = setting("api", "Name of the teacher.", choices=("api",))
    num_samples: int = setting(
        8, "Rationales per question (MoRSD does not state its own); a larger pool begins with the smaller one.", low=1, most=10_000
    )
    temperature: float = setting(0.7, "Sampling temperature (MoRSD does not state its own); 0 takes the likeliest token.", low=0, high=5)
    batch_size: int = setting(64, "Most requests in flight.", low=1, high=1000, keyed=False)
    server: ApiServer = setting(ApiServer, "The server and the teacher's model there.")


@dataclass(slots=True, kw_only=True)
class RecordedTeacher(Section):
    """Rationales that were written before, by whomever, are read from files."""

    name: str = setting("recorded", "Name of the teacher.", choices=("recorded",))
    files: list[str] = setting(
        [],
        "Files with one rationale per row (JSON Lines, CSV or Parquet); * matches any name, {task} stands for the task's; "
        "relative to the current folder or to a data folder.",
        keyed=False,
        is_path=True,
    )
    text_field: str = setting("text", "Field with the rationale, its final answer included.", keyed=False)
    question_field: str = setting("question", "Field with the text of the question.", keyed=False)
    id_field: str = setting("question_id", "Field with the id of the question: this project's, or the one in questions_file.", keyed=False)
    source_field: str = setting("source", "Field that names the author; the file's name where a row lacks it.", keyed=False)
    questions_file: str | None = setting(
        None,
        "File with id_field and question_field for files whose rows know only the id; {task} stands for the task's name.",
        keyed=False,
        is_path=True,
    )
    num_samples: int | None = setting(None, "Most rationales per question, in the order of files and rows; all by default.", low=1, keyed=False)

    def contradictions(self) -> Iterator[str]:
        if not self.files:
            yield "files must name at least one file; got []"


@dataclass(slots=True, kw_only=True)
class ReferenceTeacher(Section):
    """The task's own worked solutions are the rationales."""

    name: str = setting("reference", "Name of the teacher.", choices=("reference",))


@dataclass(slots=True, kw_only=True)
class SelfCompressor(Sampling):
    """The model that is fine-tuned also rewrites the chains of thought."""

    name: str = setting("self", "Name of the compressor.", choices=("self",))
    temperature: float = setting(0.7, "Sampling temperature; 0 takes the likeliest token (MACC does not state its own).", low=0, high=5)
    rounds: int = setting(10, "Round limit T that suits this compressor, used where no limit is given.", low=1, most=100, keyed=False)


@dataclass(slots=True, kw_only=True)
class LocalCompressor(Sampling):
    """Another local model rewrites the chains of thought."""

    name: str = setting("local", "Name of the compressor.", choices=("local",))
    temperature: float = setting(0.7, "Sampling temperature; 0 takes the likeliest token (MACC does not state its own).", low=0, high=5)
    rounds: int = setting(10, "Round limit T that suits this compressor, used where no limit is given.", low=1, most=100, keyed=False)
    model: PretrainedModel = setting(PretrainedModel, "The compressor's model.")


@dataclass(slots=True, kw_only=True)
class ApiCompressor(Sampling):
    """A model behind a server rewrites the chains of thought."""

    name: str = setting("api", "Name of the compressor.", choices=("api",))
    temperature: float = setting(0.7, "Sampling temperature; 0 takes the likeliest token (MACC does not state its own).", low=0, high=5)
    rounds: int = setting(10, "Round limit T that suits this compressor, used where no limit is given.", low=1, most=100, keyed=False)
    batch_size: int = setting(64, "Most requests in flight.", low=1, high=1000, keyed=False)
    server: ApiServer = setting(ApiServer, "The server and the compressor's model there.")
