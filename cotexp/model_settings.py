"""Settings of models and of the roles they play: what is fine-tuned, what writes the rationales, what rewrites them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cotexp.sections import Section, setting

# --- model ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class PretrainedModel(Section):
    """A causal or encoder-decoder language model that transformers can load."""

    name: str = setting("hf", "Short name for tables.", keyed=False)
    path: str = setting("???", "Folder, hub id, or `shipped:NAME` for a model that comes with this package.", keyed=False)
    revision: str | None = setting(None, "Hub revision; the weights' sha256 is part of every key in any case.", keyed=False)
    dtype: str = setting("float32", "Number format of generation; bfloat16 texts depend on the batch.", choices=("float32", "bfloat16"))
    device: str = setting("auto", "Device of generation; its type is part of every key.", choices=("auto", "cpu", "cuda", "mps"), keyed=False)
    trust_remote_code: bool = setting(False, "Whether code from the model's repository may run; read it first.")
    compress_token: str = setting("<compress>", "The token that asks for a short chain of thought.")
    literal_encoding: bool = setting(False, "Whether chat models also get `Q EOS <compress> EOS` inside the user turn.")

    def contradictions(self) -> Iterator[str]:
        if not self.compress_token.strip():
            yield f"compress_token must not be empty; got {self.compress_token!r}"
        if not self.path.strip():
            yield f"path must name a folder, a hub id or shipped:NAME; got {self.path!r}"


@dataclass(slots=True, kw_only=True)
class GgufModel(PretrainedModel):
    """A model in a GGUF file, also one that a Python package carries; the run turns it into an ordinary folder once."""

    path: str = setting("???", "The GGUF file, or `package:NAME/FILE` for a file of an installed Python package.", keyed=False)


@dataclass(slots=True, kw_only=True)
class ScratchModel(PretrainedModel):
    """A small Llama-shaped model with random weights and a tokenizer trained on the task."""

    path: str = setting("scratch", "Fixed: the model is made by the run itself.", choices=("scratch",), keyed=False)
    vocab_size: int = setting(1024, "Most tokens in the tokenizer's vocabulary.", low=300)
    hidden_size: int = setting(128, "Width of the model.", low=8)
    intermediate_size: int = setting(384, "Width of the feed-forward layers.", low=8)
    num_layers: int = setting(3, "Number of layers.", low=1)
    num_heads: int = setting(4, "Number of attention heads.", low=1)
    max_length: int = setting(1024, "Longest sequence, in tokens.", low=64)
    seed: int = setting(0, "Seed of the random weights.", low=0)

    def contradictions(self) -> Iterator[str]:
        yield from PretrainedModel.contradictions(self)
        if self.hidden_size % self.num_heads:
            yield f"hidden_size must be a multiple of num_heads ({self.num_heads}); got {self.hidden_size}"


# --- teacher and compressor -------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Sampling(Section):
    """How texts are drawn from a model."""

    temperature: float = setting(0.0, "Sampling temperature; 0 takes the likeliest token.", low=0, high=5)
    max_new_tokens: int = setting(512, "Most tokens generated per text.", low=1)
    seed: int = setting(0, "Seed of sampling; each text has its own generator.", low=0)
    batch_size: int = setting(64, "Texts generated at once.", low=1, keyed=False)


@dataclass(slots=True, kw_only=True)
class SelfTeacher(Sampling):
    """The model that is fine-tuned writes the rationales itself (MACC)."""

    name: str = setting("self", "Name of the teacher.", choices=("self",))
    num_samples: int = setting(1, "Rationales per question; a larger pool begins with the smaller one.", low=1)

    def contradictions(self) -> Iterator[str]:
        if self.num_samples > 1 and self.temperature == 0:
            yield f"num_samples must be 1 at temperature 0, where all samples are equal; got {self.num_samples}"


@dataclass(slots=True, kw_only=True)
class LocalTeacher(SelfTeacher):
    """Another local model writes several rationales for each question (MoRSD)."""

    name: str = setting("local", "Name of the teacher.", choices=("local",))
    num_samples: int = setting(8, "Rationales per question (MoRSD does not state its own); a larger pool begins with the smaller one.", low=1)
    temperature: float = setting(0.7, "Sampling temperature (MoRSD does not state its own); 0 takes the likeliest token.", low=0, high=5)
    model: PretrainedModel = setting(PretrainedModel, "The teacher's model.")


@dataclass(slots=True, kw_only=True)
class RecordedTeacher(Section):
    """Rationales that were written before, by whomever, are read from files."""

    name: str = setting("recorded", "Name of the teacher.", choices=("recorded",))
    files: list[str] = setting(
        [],
        "Files with one rationale per row (JSON Lines, CSV or Parquet); * matches any name, {task} stands for the task's; "
        "relative to the current folder or to a data folder.",
        keyed=False,
    )
    text_field: str = setting("text", "Field with the rationale, its final answer included.", keyed=False)
    question_field: str = setting("question", "Field with the text of the question.", keyed=False)
    id_field: str = setting("question_id", "Field with the id of the question: this project's, or the one in questions_file.", keyed=False)
    source_field: str = setting("source", "Field that names the author; the file's name where a row lacks it.", keyed=False)
    questions_file: str | None = setting(
        None, "File with id_field and question_field for files whose rows know only the id; {task} stands for the task's name.", keyed=False
    )
    num_samples: int | None = setting(None, "Most rationales per question, in the order of files and rows; all by default.", low=1, keyed=False)

    def contradictions(self) -> Iterator[str]:
        if not self.files or not all(each.strip() for each in self.files):
            yield f"files must name at least one file, and none with an empty name; got {self.files}"
        if self.questions_file is not None and not self.questions_file.strip():
            yield f"questions_file must name a file; got {self.questions_file!r}"


@dataclass(slots=True, kw_only=True)
class ReferenceTeacher(Section):
    """The task's own worked solutions are the rationales."""

    name: str = setting("reference", "Name of the teacher.", choices=("reference",))


@dataclass(slots=True, kw_only=True)
class SelfCompressor(Sampling):
    """The model that is fine-tuned also rewrites the chains of thought."""

    name: str = setting("self", "Name of the compressor.", choices=("self",))
    temperature: float = setting(0.7, "Sampling temperature; 0 takes the likeliest token (MACC does not state its own).", low=0, high=5)
    rounds: int = setting(10, "Round limit T that suits this compressor, used where no limit is given.", low=1, keyed=False)


@dataclass(slots=True, kw_only=True)
class LocalCompressor(Sampling):
    """Another local model rewrites the chains of thought."""

    name: str = setting("local", "Name of the compressor.", choices=("local",))
    temperature: float = setting(0.7, "Sampling temperature; 0 takes the likeliest token (MACC does not state its own).", low=0, high=5)
    rounds: int = setting(10, "Round limit T that suits this compressor, used where no limit is given.", low=1, keyed=False)
    model: PretrainedModel = setting(PretrainedModel, "The compressor's model.")
