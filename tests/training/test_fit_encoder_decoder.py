"""Fine-tuning of encoder-decoder models: the loss, resumed runs, and what a model learns to write with and without the mark."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_fit import Killed, examples_of, read_curve, weights

from cotexp.devices import training_workers
from cotexp.inference.engine import Output, Request
from cotexp.inference.local import LocalEngine
from cotexp.models import loading
from cotexp.models.encoding import Encoded
from cotexp.records import Example
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.settings.training import Lora, Trainer
from cotexp.tasks import QuestionSets, StoriesTask
from cotexp.training.batch_plans import plan_batches
from cotexp.training.data import FORMS, EncodedExample, MixtureData, collate_source_target
from cotexp.training.fit import FitJob, fit
from cotexp.training.modules import supervised_loss

MakeJob = Callable[..., FitJob]


@pytest.fixture
def make_job(tmp_path: Path, encoder_decoders: dict[str, Path], small_task: StoriesTask, small_questions: QuestionSets) -> MakeJob:
    def make(name: str, *, kind: str = "flan", dropout: float = 0.1, **trainer: Any) -> FitJob:
        (tmp_path / name).mkdir(exist_ok=True)
        settings = {"tuning": "full", "learning_rate": 1e-2, "batch_size": 16, "max_epochs": 2, "accelerator": "cpu", **trainer}
        base = with_dropout(encoder_decoders[kind], dropout, tmp_path / f"{kind} {dropout}")
        return FitJob(
            folder=tmp_path / name,
            base_folder=base,
            model=PretrainedModel(path=str(base), device="cpu"),
            trainer=Trainer(**settings),
            seed=0,
            train=examples_of(small_task, small_questions.train),
            validation=examples_of(small_task, small_questions.validation),
        )

    return make


def with_dropout(folder: Path, dropout: float, copy: Path) -> Path:
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    config = json.loads((copy / "config.json").read_text())
    config |= {"dropout_rate": dropout} if config["model_type"] == "t5" else {"dropout": dropout}
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def encoded(source: list[int], target: list[int], form: Any = "full") -> EncodedExample:
    return EncodedExample(Encoded(source + target, [0] * len(source) + [1] * len(target)), form)


def test_sources_and_targets_are_padded_each_by_itself() -> None:
    batch = collate_source_target([encoded([5, 6, 1], [7, 1]), encoded([8, 1], [9, 10, 11, 1], "compress")], 0, 99)
    assert batch.source_BS.tolist() == [[5, 6, 1], [8, 1, 0]]
    assert batch.attention_BS.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.target_BT.tolist() == [[7, 1, -100, -100], [9, 10, 11, 1]]
    assert [FORMS[index] for index in batch.kind_B.tolist()] == ["full", "compress"]
    assert batch.num_supervised_global == 99


@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_the_loaders_hand_out_sources_and_targets() -> None:
    import pytorch_lightning as pl

    examples = [encoded([number + 2] * (number % 4 + 1), [3] * (number % 5 + 1)) for number in range(24)]
    plan = plan_batches([len(each.encoded.ids) for each in examples], Trainer(batch_size=8, micro_batch_size=4, max_epochs=1), seed=1)
    module = MixtureData(examples, examples[:5], plan, 0, encoder_decoder=True)
    module.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    batches = list(module.train_dataloader())
    assert sorted(row[0] - 2 for each in batches for row in each.source_BS.tolist()) == list(range(24))
    assert all(each.num_supervised_global == sum(i % 5 + 1 for i in plan.global_batches[number // 2]) for number, each in enumerate(batches))
    assert sorted(row[0] - 2 for each in module.val_dataloader() for row in each.source_BS.tolist()) == list(range(5))


@pytest.mark.parametrize("kind", ["t5", "flan", "bart"])
def test_the_loss_is_that_of_transformers_summed_over_tokens_and_padding_changes_nothing(encoder_decoders: dict[str, Path], kind: str) -> None:
    settings = PretrainedModel(path=str(encoder_decoders[kind]))
    model, tokenizer = loading.load_trainable(encoder_decoders[kind], settings)
    loading.add_compress_token(model, tokenizer, "<compress>")
    encoder = loading.make_encoder(model, tokenizer, settings)
    short = EncodedExample(encoder.example("Ann has 2 apples.", "2 + 3 = 5.", compressed=True), "compress")
    long = EncodedExample(encoder.example("Ben has 9 coins. Ben loses 3 coins. How many?", "9 - 3 = 6. The answer is 6.", compressed=False), "full")
    together = supervised_loss(model, collate_source_target([short, long], 0, 1)).sums
    apart = sum(supervised_loss(model, collate_source_target([each], 0, 1)).sums for each in (short, long))
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=0)
    for form, each in (("full", long), ("compress", short)):
        ids, mask = each.encoded
        source, target = ids[: mask.index(1)], ids[mask.index(1) :]
        theirs = model(input_ids=torch.tensor([source]), labels=torch.tensor([target])).loss.item()
        assert together[1, 0, FORMS.index(form)] == len(target) == sum(mask)
        assert together[0, 0, FORMS.index(form)].item() == pytest.approx(theirs * len(target), rel=1e-5)
    assert together[:, 0, FORMS.index("rewrite")].tolist() == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tuning", "last_step"), [("flan", "full", 1), ("t5", "full", 4), ("flan", "lora", 5)])
def test_a_killed_training_ends_with_the_same_weights_and_curve_as_an_undisturbed_one(
    make_job: MakeJob, kind: str, tuning: str, last_step: int
) -> None:
    undisturbed = make_job("undisturbed", kind=kind, tuning=tuning)
    fit(undisturbed)

    def kill(row: dict[str, float], num_steps: int) -> None:
        if row["step"] == last_step:
            raise Killed

    killed = make_job("killed", kind=kind, tuning=tuning, checkpoint_every_seconds=0)
    with pytest.raises(Killed):
        fit(killed, kill)
    fit(killed)
    assert read_curve(killed) == read_curve(undisturbed)
    ours, theirs = weights(killed), weights(undisturbed)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_dropout_of_the_model_works_from_the_first_step_on(make_job: MakeJob) -> None:
    with_it, without = make_job("with", dropout=0.5), make_job("without", dropout=0.0)
    fit(with_it)
    fit(without)
    assert read_curve(with_it)[0]["train/loss"] != pytest.approx(read_curve(without)[0]["train/loss"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_the_loss_and_weights_of_a_step_do_not_depend_on_micro_batches(make_job: MakeJob, tuning: str) -> None:
    whole, parts = (make_job(f"parts of {size}", dropout=0.0, tuning=tuning, micro_batch_size=size) for size in (16, 2))
    fit(whole)
    fit(parts)
    for one, other in zip(read_curve(whole), read_curve(parts), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_micro_batches_without_padding_are_refused(make_job: MakeJob) -> None:
    with pytest.raises(ConfigError, match=r"^trainer\.padding_free must not be true for an encoder-decoder model, .*; take false$"):
        fit(make_job("t5", padding_free=True))


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_training_in_bfloat16_follows_the_curve_of_float32(make_job: MakeJob, tuning: str) -> None:
    exact, rough = (make_job(precision, dropout=0.0, tuning=tuning, precision=precision) for precision in ("float32", "bfloat16"))
    fit(exact)
    fit(rough)
    for one, other in zip(read_curve(exact), read_curve(rough), strict=True):
        assert one == pytest.approx(other, rel=0.03)
    assert read_curve(exact) != read_curve(rough)


@pytest.mark.slow
@pytest.mark.parametrize(("tuning", "strategy"), [("lora", "ddp"), ("full", "fsdp")])
def test_two_devices_give_the_loss_curve_of_one(make_job: MakeJob, tuning: str, strategy: str) -> None:
    one, two = make_job("one", dropout=0.0, tuning=tuning), make_job("two", dropout=0.0, tuning=tuning, devices=2, strategy=strategy)
    fit(one)
    training_workers.run_fit(two, lambda row, num_steps: None)
    for ours, theirs in zip(read_curve(two), read_curve(one), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4), "float32 sums in another order: 1e-4 relative"


TOY = {
    f"{name} has {number} apples.": (f"{name} has {number} apples, and the answer is {number}.", str(number))
    for name in ("Ann", "Ben")
    for number in (2, 5, 8)
}
"""Question -> what is to be written without the mark, and with it."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "tuning", "highest_loss"), [("t5", "full", 0.05), ("flan", "full", 0.05), ("flan", "lora", 0.2), ("t5", "lora", 1.3)]
)
def test_a_model_learns_to_write_short_with_the_mark_and_long_without(make_job: MakeJob, kind: str, tuning: str, highest_loss: float) -> None:
    """Adapters of a model with random weights reach no lower loss, because the head that they leave alone bounds its logits."""
    job = make_job("toy", kind=kind, dropout=0.0, tuning=tuning, batch_size=12, max_epochs=150, num_validations=1)
    job.trainer.lora = Lora(rank=32, alpha=64, dropout=0.0)
    forms: tuple[tuple[Any, int], ...] = (("full", 0), ("compress", 1))
    job.train = job.validation = [
        Example(id=f"{question}/{form}", question_id=question, prompt=question, completion=texts[index], form=form, compressed=index > 0)
        for question, texts in TOY.items()
        for form, index in forms
    ]
    fit(job)
    assert read_curve(job)[-1]["validation/loss"] < highest_loss
    loaded = loading.load(job.folder, job.model, base_folder=job.base_folder)
    for compressed in (False, True):
        written: list[Output] = []
        requests = [Request(question, question, compressed) for question in TOY]
        LocalEngine(loaded).generate(requests, Sampling(max_new_tokens=40), written.append)
        expected = {question: loaded.encoder.decode(loaded.encoder.text_ids(texts[compressed])) for question, texts in TOY.items()}
        assert {each.id: each.text for each in written} == expected
        assert {each.finish_reason for each in written} == {"stop"}
