from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, OPTConfig, OPTForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

from cotexp import signals
from cotexp.devices import training_workers
from cotexp.models import loading
from cotexp.models.encoding import Encoded, Encoder
from cotexp.models.rope import RopeLimit
from cotexp.records import Example, Question
from cotexp.settings.base import ConfigError, TrainingDiverged
from cotexp.settings.models import PretrainedModel
from cotexp.settings.training import Lora, Trainer
from cotexp.tasks import QuestionSets, StoriesTask, prompt_for
from cotexp.training import resumable
from cotexp.training.batch_plans import plan_batches
from cotexp.training.data import FORMS, EncodedExample, collate, token_weights
from cotexp.training.fit import FitJob, Limits, _load, _quiet, check_sides, fit
from cotexp.training.modules import supervised_loss
from cotexp.training.recorder import RESUMABLE
from cotexp.training.sharding import trained_parameters

MakeJob = Callable[..., FitJob]


class Killed(Exception):
    """Stands for a process that ended in the middle of training."""


def examples_of(task: StoriesTask, questions: list[Question]) -> list[Example]:
    forms: tuple[tuple[Any, int], ...] = (("full", 0), ("compress", 8))
    return [
        Example(
            id=f"{each.id}/{form}",
            question_id=each.id,
            prompt=prompt_for(task, each),
            completion=each.references[level],
            form=form,
            compressed=form == "compress",
        )
        for each in questions
        for form, level in forms
    ]


@pytest.fixture
def make_job(tmp_path: Path, random_model: Path, small_task: StoriesTask, small_questions: QuestionSets) -> MakeJob:
    def make(name: str, **trainer: Any) -> FitJob:
        (tmp_path / name).mkdir(exist_ok=True)
        settings = {"tuning": "full", "learning_rate": 1e-2, "batch_size": 16, "max_epochs": 2, "accelerator": "cpu", **trainer}
        return FitJob(
            folder=tmp_path / name,
            base_folder=random_model,
            model=PretrainedModel(path=str(random_model)),
            trainer=Trainer(**settings),
            seed=0,
            train=examples_of(small_task, small_questions.train),
            validation=examples_of(small_task, small_questions.validation),
        )

    return make


def test_a_budget_of_flops_holds_for_a_model_that_makes_logits_of_all_tokens(make_job: MakeJob, random_model: Path, tmp_path: Path) -> None:
    """OPT's head cannot be split off, and most tokens of these examples are prompts: the head's share of a step is several times as large."""
    base = tmp_path / "opt"
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    sizes = {"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "word_embed_proj_dim": 16}
    OPTForCausalLM(OPTConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **sizes, **ids)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    job = make_job("job", max_petaflops=3e-6, num_validations=1, batch_size=8)
    job.base_folder, job.model = base, PretrainedModel(path=str(base), device="cpu")
    job.train = [dataclasses.replace(each, prompt=each.prompt * 2, completion="4") for each in job.train]
    fit(job)
    done = json.loads((job.folder / "training.json").read_text())
    assert done["num_steps"] > 2
    assert 3e9 <= done["flops"] < 3e9 * (1 + 2 / done["num_steps"]), "it ends with the step that reaches the budget"


def test_the_curve_has_the_learning_rate_that_each_step_used(make_job: MakeJob) -> None:
    """Two steps of warm-up to 0.01, then down to 0 behind the last one."""
    job = make_job("job", max_steps=5, warmup_ratio=0.4, num_validations=1)
    used: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        take_step = torch.optim.AdamW.step

        def recorded(self: torch.optim.AdamW, closure: Any = None) -> Any:
            used.append(self.param_groups[0]["lr"])
            return take_step(self, closure)

        patch.setattr(torch.optim.AdamW, "step", recorded)
        fit(job)
    assert [row["learning_rate"] for row in read_curve(job) if "learning_rate" in row] == pytest.approx(used)
    assert used[0] == pytest.approx(0.005)
    assert used[-1] > 0


def test_micro_batches_of_a_step_have_dropout_of_their_own(make_job: MakeJob) -> None:
    job = make_job("job", tuning="lora", lora=Lora(dropout=0.5), max_steps=1, micro_batch_size=8, num_validations=1)
    job.train = [job.train[0]] * 16
    masks: list[torch.Tensor] = []
    forward = torch.nn.Dropout.forward

    def recorded(self: torch.nn.Dropout, hidden: torch.Tensor) -> torch.Tensor:
        if self.p == 0.5 and self.training:
            masks.append(forward(self, torch.ones_like(hidden)))
            return hidden * masks[-1]
        return forward(self, hidden)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Dropout, "forward", recorded)
        fit(job)
    half = len(masks) // 2
    assert masks[0].shape == masks[half].shape
    assert not torch.equal(masks[0], masks[half])


def test_examples_that_are_too_long_are_counted_by_form(make_job: MakeJob) -> None:
    job = make_job("job", max_epochs=1, num_validations=1)
    encoder = loading.make_encoder(*_load(job), job.model)
    lengths: dict[str, list[int]] = {form: [] for form in FORMS}
    for each in job.train:
        lengths[each.form].append(len(encoder.example(each.prompt, each.completion, compressed=each.compressed).ids))
    job.trainer.max_length = max(lengths["compress"])
    fit(job)
    done = json.loads((job.folder / "training.json").read_text())
    expected = sum(length > job.trainer.max_length for length in lengths["full"])
    assert 0 < expected < len(lengths["full"]) + 1
    assert (done["num_too_long"], done["num_too_long_full"], done.get("num_too_long_compress")) == (expected, expected, None)


def read_curve(job: FitJob) -> list[dict[str, float]]:
    return [json.loads(line) for line in (job.folder / "curve.jsonl").read_text().splitlines()]


def weights(job: FitJob) -> dict[str, torch.Tensor]:
    return load_file(next(job.folder.glob("*model.safetensors")))


@pytest.mark.slow
@pytest.mark.parametrize(("tuning", "last_step"), [("full", 2), ("full", 5), ("full", 9), ("lora", 4)])
def test_a_killed_training_ends_with_the_same_weights_and_curve_as_an_undisturbed_one(make_job: MakeJob, tuning: str, last_step: int) -> None:
    undisturbed = make_job("undisturbed", tuning=tuning)
    fit(undisturbed)

    def kill(row: dict[str, float], num_steps: int) -> None:
        if row["step"] == last_step:
            raise Killed

    killed = make_job("killed", tuning=tuning, checkpoint_every_seconds=0)
    with pytest.raises(Killed):
        fit(killed, kill)
    repeated: list[float] = []
    fit(killed, lambda row, num_steps: repeated.append(row["step"]))
    assert min(repeated) == last_step, "only the step in flight may be repeated"
    assert read_curve(killed) == read_curve(undisturbed)
    ours, theirs = weights(killed), weights(undisturbed)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_a_broken_state_and_torn_lines_are_left_out_and_training_goes_on_from_the_last_good_state(
    make_job: MakeJob, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = make_job("undisturbed", max_epochs=1, num_validations=5)
    fit(undisturbed)

    def kill(row: dict[str, float], num_steps: int) -> None:
        if row["step"] == 4:
            raise Killed

    def interrupted(name: str) -> FitJob:
        job = make_job(name, max_epochs=1, num_validations=5, checkpoint_every_seconds=0)
        with pytest.raises(Killed):
            fit(job, kill)
        with (job.folder / "curve.jsonl").open("ab") as file:
            file.write(b'123\n{}\nnull\n\xff\xfe\n[1]\n{"step": 3, "tr')
        return job

    def goes_on_after(job: FitJob, step: int) -> None:
        repeated: list[float] = []
        fit(job, lambda row, num_steps: repeated.append(row["step"]))
        assert min(repeated) == step + 1
        assert read_curve(job) == read_curve(undisturbed)
        assert all(torch.equal(own, weights(undisturbed)[name]) for name, own in weights(job).items())
        assert not list(job.folder.glob("resumable.*"))

    cut_off, without_best = interrupted("cut_off"), interrupted("without_best")
    state = cut_off.folder / RESUMABLE
    state.write_bytes(state.read_bytes()[:-1])
    goes_on_after(cut_off, 2)
    assert f"{state} cannot be read" in caplog.text
    assert "resumes from the last complete checkpoint, after step 2" in caplog.text
    (without_best.folder / "best.safetensors").write_bytes(b"")
    goes_on_after(without_best, 0)
    assert "best.safetensors, the best weights so far, cannot be read; training starts again" in caplog.text


@pytest.mark.slow
def test_a_checkpoint_of_another_micro_batch_count_goes_on(make_job: MakeJob) -> None:
    def kill(row: dict[str, float], num_steps: int) -> None:
        if row["step"] == 4:
            raise Killed

    job = make_job("job", micro_batch_size=8, checkpoint_every_seconds=0)
    with pytest.raises(Killed):
        fit(job, kill)
    job.trainer.micro_batch_size = 2
    repeated: list[float] = []
    fit(job, lambda row, num_steps: repeated.append(row["step"]))
    assert min(repeated) == 4
    undisturbed = make_job("undisturbed", micro_batch_size=8)
    fit(undisturbed)
    for one, other in zip(read_curve(job), read_curve(undisturbed), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
def test_activations_that_are_computed_again_change_no_loss(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are where the settings say so, and where the memory would not hold them."""
    forward, curves, calls = LlamaMLP.forward, [], []

    def counted(self: LlamaMLP, x: torch.Tensor) -> torch.Tensor:
        calls[-1] += self.training
        return forward(self, x)

    monkeypatch.setattr(LlamaMLP, "forward", counted)
    for wish, memory in ((False, 10**6), (None, 10**12), (True, 10**12), (None, 10**6)):
        monkeypatch.setattr("cotexp.training.memory.memory_of", lambda *_, memory=memory: memory)
        calls.append(0)
        job = make_job(f"{wish} {memory}", tuning="lora", gradient_checkpointing=wish, max_epochs=1)
        fit(job)
        curves.append(read_curve(job))
    once = calls[0]
    assert calls == [once, once, 2 * once, 2 * once] != [0] * 4
    assert curves == [curves[0]] * 4


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_the_curve_does_not_depend_on_the_tokens_of_a_micro_batch(make_job: MakeJob, tuning: str) -> None:
    curves = []
    for budget in (100_000, 300, 1):
        job = make_job(f"within {budget}", tuning=tuning, max_batch_tokens=budget, max_epochs=1)
        fit(job)
        curves.append(read_curve(job))
    for one, *others in zip(*curves, strict=True):
        for other in others:
            assert one == pytest.approx(other, rel=1e-5), "float32 sums in another order"


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_the_curve_does_not_depend_on_padding(make_job: MakeJob, tuning: str) -> None:
    padded, packed = make_job("padded", tuning=tuning), make_job("packed", tuning=tuning, padding_free=True, max_batch_tokens=300)
    fit(padded)
    fit(packed)
    for one, other in zip(read_curve(padded), read_curve(packed), strict=True):
        assert one == pytest.approx(other, rel=1e-5), "float32 sums in another order"


@pytest.mark.slow
def test_the_loss_and_weights_of_a_step_do_not_depend_on_micro_batches(make_job: MakeJob) -> None:
    whole, parts = make_job("whole", micro_batch_size=16), make_job("parts", micro_batch_size=2)
    fit(whole)
    fit(parts)
    for one, other in zip(read_curve(whole), read_curve(parts), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "tuning"), [("ddp", "full"), ("fsdp", "lora")])
def test_two_devices_give_the_loss_curve_and_weights_of_one(make_job: MakeJob, strategy: str, tuning: str) -> None:
    """Under LoRA with the row of `<compress>`, which alone is trained of the embeddings. The clipped norm is that of all shards."""
    one = make_job("one", tuning=tuning, gradient_clip=0.1)
    two = make_job("two", tuning=tuning, gradient_clip=0.1, devices=2, strategy=strategy, max_batch_tokens=150)
    fit(one)
    seen: list[dict[str, float]] = []
    training_workers.run_fit(two, lambda row, num_steps: seen.append(row))
    assert seen == read_curve(two)
    for ours, theirs in zip(read_curve(two), read_curve(one), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5), "float32 sums in another order: 1e-5 relative"
    ours, theirs = weights(two), weights(one)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)
    assert {path.name for path in two.folder.iterdir()} == {path.name for path in one.folder.iterdir()}, "one set of files, nothing left over"


@pytest.mark.slow
def test_a_killed_worker_and_a_signal_end_training_at_once_and_it_goes_on_with_another_number_of_devices(make_job: MakeJob) -> None:
    undisturbed = make_job("undisturbed", tuning="lora", max_epochs=16)
    fit(undisturbed)
    job = make_job("job", tuning="lora", max_epochs=16, checkpoint_every_seconds=0, devices=2, strategy="fsdp")
    killed_at: list[float] = []

    def kill_one(row: dict[str, float], num_steps: int) -> None:
        if row["step"] >= 3 and not killed_at:
            workers_of = [each for each in psutil.Process().children(recursive=True) if "cotexp.devices.training_workers" in each.cmdline()]
            next(each for each in workers_of if each.environ().get("RANK") == "1").kill()
            killed_at.append(time.monotonic())

    with pytest.raises(training_workers.WorkersFailed, match=r"worker 1 was killed by SIGKILL; .* when memory runs out \(log: .* resumes"):
        training_workers.run_fit(job, kill_one)
    assert time.monotonic() - killed_at[0] < 600, "the other worker must not wait for it"
    job.trainer.strategy = "ddp"
    steps: list[float] = []

    def stop(row: dict[str, float], num_steps: int) -> None:
        if not steps:
            os.kill(os.getpid(), signal.SIGTERM)
        steps.append(row["step"])

    with pytest.raises(signals.Stopped) as stop_error, signals.handled():
        training_workers.run_fit(job, stop)
    assert stop_error.value.code == 143
    assert steps[0] > 1, "the sharded checkpoint goes on under another strategy"
    assert resumable.progress(job.folder / RESUMABLE).step == steps[-1] < 80, "a checkpoint of the last whole step"
    job.trainer.devices = 1
    repeated: list[float] = []
    training_workers.run_fit(job, lambda row, num_steps: repeated.append(row["step"]))
    assert repeated[0] == steps[-1] + 1
    for ours, theirs in zip(read_curve(job), read_curve(undisturbed), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3), "float32 sums in another order, over 80 steps"


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_signal_in_the_last_validation_ends_after_the_result_is_stored(make_job: MakeJob, devices: int) -> None:
    job = make_job("job", checkpoint_every_seconds=3600, devices=devices, strategy="ddp" if devices > 1 else "auto")
    rows: list[float] = []

    def stop(row: dict[str, float], num_steps: int) -> None:
        rows.append(row["step"])
        if row["step"] == num_steps and "validation/loss" in row:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(signals.Stopped), signals.handled():
        training_workers.run_fit(job, stop)
    assert json.loads((job.folder / "training.json").read_text())["num_steps"] == rows[-1]
    rows.clear()
    training_workers.run_fit(job, stop)
    assert not rows, "nothing is trained again"


@pytest.mark.slow
def test_an_error_in_a_worker_process_ends_training_with_its_message(make_job: MakeJob) -> None:
    job = make_job("two", devices=2, strategy="ddp", learning_rate=1.0, gradient_clip=1e9, warmup_ratio=0.0)
    job.train = [Example(id="long", question_id="q", prompt="x" * 500, completion="y", form="full")]
    job.trainer.max_length = 8
    with pytest.raises(training_workers.WorkersFailed, match=r"trainer\.max_length leaves no training example"):
        training_workers.run_fit(job, lambda row, num_steps: None)


@pytest.mark.slow
def test_the_checkpoint_with_the_lowest_validation_loss_is_kept(make_job: MakeJob) -> None:
    job = make_job("job", learning_rate=0.3, max_epochs=3)
    fit(job)
    validations = {row["step"]: row["validation/loss"] for row in read_curve(job) if "validation/loss" in row}
    summary = json.loads((job.folder / "training.json").read_text())
    assert len(validations) == 5
    assert summary["best_step"] == min(validations, key=lambda step: validations[step])
    assert summary["best_validation_loss"] == min(validations.values())
    assert measured_loss(job, job.validation) == pytest.approx(min(validations.values()), rel=1e-4)


def measured_loss(job: FitJob, examples: list[Example]) -> float:
    """Mean token loss of the saved model, example by example, from the full logits."""
    loaded = loading.load(job.folder, job.model, base_folder=job.base_folder)
    total, count = 0.0, 0
    with torch.no_grad():
        for each in examples:
            ids, mask = loaded.encoder.example(each.prompt, each.completion, compressed=each.compressed)
            log_probabilities = loaded.model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)
            for position in range(1, len(ids)):
                if mask[position]:
                    total -= float(log_probabilities[position - 1, ids[position]])
                    count += 1
    return total / count


def test_loss_is_the_sum_over_supervised_tokens_alone_and_padding_changes_nothing(random_model: Path) -> None:
    model, tokenizer = loading.load_trainable(random_model, PretrainedModel(path=str(random_model)))
    loading.add_compress_token(model, tokenizer, "<compress>")
    encoder = Encoder.of(tokenizer, compress_token="<compress>")
    short = EncodedExample(encoder.example("Ann has 2 apples.", "2 + 3 = 5.", compressed=True), "compress")
    long = EncodedExample(encoder.example("Ben has 9 coins. Ben loses 3 coins. How many?", "9 - 3 = 6. 6.", compressed=False), "full")
    together = supervised_loss(model, collate([short, long], 0, 1)).sums
    apart = supervised_loss(model, collate([short], 0, 1)).sums + supervised_loss(model, collate([long], 0, 1)).sums
    assert torch.allclose(together, apart, rtol=1e-5)
    assert together[1].tolist() == [[sum(long.encoded.loss_mask), sum(short.encoded.loss_mask), 0]]


@pytest.mark.parametrize("padding_free", [False, True])
def test_the_loss_of_a_step_is_the_weighted_mean_of_the_forms_mean_token_losses(random_model: Path, padding_free: bool) -> None:
    """Against plain transformers, as the released code of distilling step-by-step computes it: one batch of labels, one of rationales."""
    model, tokenizer = loading.load_trainable(random_model, PretrainedModel(path=str(random_model)))
    encoder = loading.make_encoder(model, tokenizer, PretrainedModel(path=str(random_model)))
    texts = {
        "full": [("Q one?", "3 + 4 = 7. It is 7."), ("Q two?", "9 - 3 = 6 and so on. It is 6.")],
        "compress": [("Q one?", "7."), ("Q two?", "6.")],
    }
    examples = [EncodedExample(encoder.example(*each), form) for form, own in texts.items() for each in own]  # type: ignore[arg-type]
    means = {}
    for form in texts:
        losses = []
        for each in (each.encoded for each in examples if each.form == form):
            logits_TV = model(input_ids=torch.tensor([each.ids])).logits[0, :-1]
            labels = torch.tensor([token if is_read else -100 for token, is_read in zip(each.ids, each.loss_mask, strict=True)][1:])
            losses.append(torch.nn.functional.cross_entropy(logits_TV, labels, reduction="none")[labels != -100])
        means[form] = torch.cat(losses).mean()
    (0.3 * means["full"] + 0.7 * means["compress"]).backward()
    expected = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    model.zero_grad()
    weights = token_weights(examples, {"full": 0.3, "compress": 0.7})
    count = sum(sum(each.encoded.loss_mask) for each in examples)
    for own in (examples[:1], examples[1:]):
        batch = collate(own, 0, count)._replace(weight_B=torch.tensor([weights[each.form] for each in own]))
        (supervised_loss(model, batch, padding_free=padding_free).total / count).backward()
    for name, each in model.named_parameters():
        if each.grad is not None:
            torch.testing.assert_close(each.grad, expected[name], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_the_curve_and_the_choice_of_the_checkpoint_weigh_the_forms_as_training_does(make_job: MakeJob) -> None:
    job = make_job("job", num_validations=2, max_epochs=1)
    job.full_loss_ratio = 0.25
    fit(job)
    for row in read_curve(job):
        phase = "train" if "train/loss" in row else "validation"
        mean = 0.25 * row[f"{phase}/loss_full"] + 0.75 * row[f"{phase}/loss_compress"]
        assert row[f"{phase}/loss"] == pytest.approx(mean, rel=1e-6)
    best = json.loads((job.folder / "training.json").read_text())["best_validation_loss"]
    apart = {form: measured_loss(job, [each for each in job.validation if each.form == form]) for form in ("full", "compress")}
    assert best == pytest.approx(0.25 * apart["full"] + 0.75 * apart["compress"], rel=1e-4)


def test_examples_on_two_sides_of_a_rotary_limit_are_refused_where_devices_hold_parts_of_the_weights() -> None:
    """All of them must make the same passes."""
    sharded, limit = Trainer(strategy="fsdp", devices=2), RopeLimit(4096, grows=False)
    with pytest.raises(ConfigError, match=r"^trainer\.max_length must be at most 4096 with trainer\.strategy=fsdp: .*5000 tokens; .*strategy=ddp$"):
        check_sides([100, 5000], limit, sharded)
    for lengths, own, trainer in (
        ([100, 4096], limit, sharded),
        ([4097, 5000], limit, sharded),
        ([100, 5000], None, sharded),
        ([100, 5000], limit, Trainer(strategy="ddp", devices=2)),
    ):
        check_sides(lengths, own, trainer)


@pytest.mark.slow
def test_losses_of_several_tasks_stand_apart_in_the_curve(make_job: MakeJob) -> None:
    """Each is the mean over its own examples' tokens; a fine-tuning on one task keeps its curve free of them. A task may be called like a form."""
    job, plain = make_job("job"), make_job("plain")
    job.tasks = {
        question: ("stories", "full")[number % 2]
        for number, question in enumerate(sorted({each.question_id for each in [*job.train, *job.validation]}))
    }
    plain.tasks = dict.fromkeys(job.tasks, "stories")
    fit(job)
    fit(plain)
    for with_tasks, without in zip(read_curve(job), read_curve(plain), strict=True):
        phase = "train" if "train/loss" in with_tasks else "validation"
        assert {name for name in without if "/" in name} == {f"{phase}/{each}" for each in ("loss", "loss_full", "loss_compress")}
        assert {name: with_tasks[name] for name in without} == pytest.approx(without, rel=1e-5)
    best = json.loads((job.folder / "training.json").read_text())["best_step"]
    [losses] = [row for row in read_curve(job) if "validation/loss" in row and row["step"] == best]
    for task in ("stories", "full"):
        own = [each for each in job.validation if job.tasks[each.question_id] == task]
        assert 0 < len(own) < len(job.validation)
        assert measured_loss(job, own) == pytest.approx(losses[f"validation/loss/{task}"], rel=1e-4)


def test_a_fine_tuning_stores_what_its_steps_read_computed_and_took(make_job: MakeJob) -> None:
    job = make_job("job", max_steps=3, num_validations=1)
    fit(job)
    stored = json.loads((job.folder / "training.json").read_text())
    model, tokenizer = _load(job)
    encoder = loading.make_encoder(model, tokenizer, job.model)
    encoded = [encoder.example(each.prompt, each.completion, compressed=each.compressed) for each in job.train]
    plan = plan_batches([len(each.ids) for each in encoded], job.trainer, seed=job.seed)
    seen = [encoded[index] for batch in plan.global_batches for index in batch]
    assert stored["num_steps"] == len(plan.global_batches) == 3
    assert stored["num_tokens_seen"] == sum(len(each.ids) for each in seen)
    assert stored["num_supervised_tokens_seen"] == sum(sum(each.loss_mask) for each in seen) < stored["num_tokens_seen"]
    weights = sum(each.numel() for each in model.parameters())
    assert stored["num_parameters"] == stored["num_trained_parameters"] == weights
    assert 0.2 * 6 * weights * stored["num_tokens_seen"] < stored["flops"] < 2 * 6 * weights * stored["num_tokens_seen"], "about 6 N per token"
    assert stored["core_hours"] == pytest.approx(stored["seconds"] * torch.get_num_threads() / 3600, rel=1e-2)


def test_a_loss_that_is_no_number_stops_with_the_setting_to_change(make_job: MakeJob) -> None:
    job = make_job("job", num_validations=1)
    job.trainer.weight_decay = 1e38  # more than a setting may say: the first step ruins the weights
    with pytest.raises(TrainingDiverged, match=r"loss became nan at step \d; lower trainer\.learning_rate"):
        fit(job)


def test_weights_that_the_last_step_ruins_are_told_by_the_validation_after_it(make_job: MakeJob) -> None:
    job = make_job("ruined", batch_size=24, max_epochs=0.01, num_validations=1)
    job.trainer.weight_decay = 1e38  # more than a setting may say
    with pytest.raises(TrainingDiverged, match=r"training diverged: the loss became nan at step \d"):
        fit(job)
    assert not (job.folder / "training.json").exists()


def test_examples_that_are_too_long_are_left_out_and_counted(make_job: MakeJob) -> None:
    job = make_job("job", max_length=130)
    fit(job)
    summary = json.loads((job.folder / "training.json").read_text())
    assert 0 < summary["num_too_long"] < summary["num_examples"]


def test_examples_beyond_the_models_context_are_left_out_and_counted_like_too_long_ones(make_job: MakeJob) -> None:
    by_length, by_context = make_job("length", max_length=130), make_job("context")
    by_context.model.context_length = 130
    fit(by_length)
    fit(by_context)
    counts = [json.loads((job.folder / "training.json").read_text())["num_too_long"] for job in (by_length, by_context)]
    assert counts[0] == counts[1] > 0
    assert read_curve(by_length) == read_curve(by_context)


def test_a_context_too_short_for_every_example_is_refused_with_both_limits(make_job: MakeJob) -> None:
    job = make_job("job")
    job.model.context_length = 16
    with pytest.raises(ConfigError, match=r"trainer\.max_length leaves no training example of 80, the shortest of \d+ tokens; got 16384 and .* 16"):
        fit(job)


def test_source_and_target_of_an_encoder_decoder_do_not_share_the_context() -> None:
    example = Encoded([5] * 9, [0] * 5 + [1] * 4)
    assert Limits(max_length=9, context=5, reads_apart=True).allow(example)
    assert not Limits(max_length=9, context=4, reads_apart=True).allow(example)
    assert not Limits(max_length=8, context=5, reads_apart=True).allow(example)
    assert not Limits(max_length=9, context=8, reads_apart=False).allow(example)
    assert Limits(max_length=9, context=9, reads_apart=False).allow(example)
    assert Limits(max_length=9, context=None, reads_apart=False).allow(example)


def test_frozen_weights_have_the_format_of_the_forward_pass_and_trained_ones_float32(make_job: MakeJob) -> None:
    """Nothing of a frozen weight's shape is kept for the backward pass but the weight itself."""
    job = make_job("job", tuning="lora", precision="bfloat16")
    model, tokenizer = _load(job)
    frozen = {each.data_ptr(): each for each in model.parameters() if not each.requires_grad}
    assert {each.dtype for each in frozen.values()} == {torch.bfloat16}
    assert {each.dtype for _, each in trained_parameters(model)} == {torch.float32}
    encoder = loading.make_encoder(model, tokenizer, job.model)
    each = EncodedExample(encoder.example("Ann has 2 apples.", "2 + 3 = 5.", compressed=True), "compress")
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: (kept.append(saved), saved)[1], lambda saved: saved), torch.autocast("cpu"):
        supervised_loss(model, collate([each], 0, 1))
    large = {tuple(sorted(each.shape)) for each in frozen.values() if each.dim() == 2}
    copies = [each for each in kept if tuple(sorted(each.shape)) in large and each.data_ptr() not in frozen]
    assert kept
    assert not copies


@pytest.mark.slow
@pytest.mark.parametrize("model", ["random_model", "encoder_decoders"])
def test_frozen_weights_in_bfloat16_follow_the_curve_of_float32_and_the_model_that_is_saved_is_the_trained_one(
    make_job: MakeJob, model: str, request: pytest.FixtureRequest
) -> None:
    curves = []
    for frozen in ("float32", None):
        job = make_job(f"frozen {frozen}", tuning="lora", precision="bfloat16", frozen_dtype=frozen)
        if model == "encoder_decoders":
            job.base_folder = request.getfixturevalue(model)["bart"]
        fit(job)
        curves.append(read_curve(job))
    for one, other in zip(*curves, strict=True):
        assert one == pytest.approx(other, rel=0.02)
    if model == "random_model":
        best = json.loads((job.folder / "training.json").read_text())["best_validation_loss"]
        assert measured_loss(job, job.validation) == pytest.approx(best, rel=0.01)


def test_a_machine_with_slurm_gives_no_advice_to_use_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pytorch_lightning.plugins.environments import SLURMEnvironment

    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    with pytest.warns(UserWarning, match="srun"):
        SLURMEnvironment.detect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with _quiet():
            SLURMEnvironment.detect()
