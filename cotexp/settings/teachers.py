"""Settings of teachers, which write the rationales."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cotexp.settings.base import Section, setting
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.settings.server import ApiServer


@dataclass(slots=True, kw_only=True)
class SelfTeacher(Sampling):
    """The model that is fine-tuned writes the rationales itself (MACC)."""

    name: str = setting("self", "Name of the teacher.", choices=("self",))
    num_samples: int = setting(1, "Rationales per question; a larger pool begins with the smaller one.", low=1, most=10_000)

    def contradictions(self) -> Iterator[str]:
        yield from Sampling.contradictions(self)
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

    def contradictions(self) -> Iterator[str]:
        yield from SelfTeacher.contradictions(self)
        yield from self.server.clashes(self)


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
