"""The batch plan, how it is dealt to devices, and what a micro-batch holds."""

from __future__ import annotations

import random
from collections import Counter
from itertools import chain, combinations, pairwise
from statistics import mean

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cotexp.models.encoding import Encoded
from cotexp.models.rope import RopeLimit
from cotexp.records import Form
from cotexp.settings.training import Trainer
from cotexp.training.batch_plans import deal, plan_batches
from cotexp.training.data import FORMS, EncodedExample, MixtureData, collate, shares_of_steps, split_at_rope_limit, token_weights

LENGTHS = [(number * 37) % 101 + 5 for number in range(100)]


def trainer(
    *,
    devices: int = 1,
    micro_batch_size: int | None = None,
    max_batch_tokens: int = 100_000,
    batch_size: int = 24,
    max_epochs: float = 3.0,
    num_validations: int = 1,
) -> Trainer:
    return Trainer(
        batch_size=batch_size,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        micro_batch_size=micro_batch_size,
        max_batch_tokens=max_batch_tokens,
        max_epochs=max_epochs,
        num_validations=num_validations,
    )


LAYOUTS = [(1, None), (1, 24), (1, 8), (1, 1), (2, None), (2, 3), (3, 4), (4, 6), (4, 1), (8, None)]


@pytest.mark.parametrize(("devices", "micro_batch_size"), LAYOUTS)
def test_global_batches_are_the_same_for_any_devices_and_micro_batches(devices: int, micro_batch_size: int | None) -> None:
    reference = plan_batches(LENGTHS, trainer(), seed=5)
    plan = plan_batches(LENGTHS, trainer(devices=devices, micro_batch_size=micro_batch_size), seed=5)
    assert plan.global_batches == reference.global_batches
    assert {len(each) for each in plan.global_batches} == {24}


@pytest.mark.parametrize(("devices", "micro_batch_size"), LAYOUTS)
def test_every_example_of_a_step_is_dealt_exactly_once(devices: int, micro_batch_size: int | None) -> None:
    plan = plan_batches(LENGTHS, trainer(devices=devices, micro_batch_size=micro_batch_size), seed=5)
    assert plan.num_devices == devices
    for step, batch in enumerate(plan.global_batches):
        dealt = [plan.micro_batches(step, device) for device in range(devices)]
        assert {len(each) for each in dealt} == {plan.num_micro_batches}
        sizes = {len(micro) for each in dealt for micro in each}
        assert sizes == {micro_batch_size} or not micro_batch_size
        assert sorted(chain.from_iterable(micro for each in dealt for micro in each)) == sorted(batch)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 300), min_size=4, max_size=80),
    st.sampled_from([(1, 12), (2, 12), (3, 12), (4, 4)]),
    st.integers(1, 2000),
    st.sampled_from([None, 1, 5]),
    st.booleans(),
)
def test_micro_batches_keep_to_their_tokens_and_every_device_has_as_many(
    lengths: list[int], layout: tuple[int, int], max_tokens: int, rows: int | None, padding_free: bool
) -> None:
    devices, batch_size = layout
    own = trainer(devices=devices, batch_size=batch_size, max_batch_tokens=max_tokens, micro_batch_size=rows, max_epochs=1)
    plan = plan_batches(lengths, own, seed=3, padding_free=padding_free)
    for step, batch in enumerate(plan.global_batches):
        dealt = [plan.micro_batches(step, device) for device in range(devices)]
        assert {len(each) for each in dealt} == {plan.num_micro_batches}
        assert sorted(chain.from_iterable(micro for each in dealt for micro in each)) == sorted(batch)
        for micro in chain.from_iterable(dealt):
            assert 0 < len(micro) <= (rows or batch_size)
            of_micro = [lengths[index] for index in micro]
            assert len(micro) == 1 or (sum(of_micro) if padding_free else len(micro) * max(of_micro)) <= max_tokens


def test_a_long_example_goes_alone_and_short_ones_together() -> None:
    plan = plan_batches([1000, *[10] * 31], trainer(batch_size=32, max_epochs=1, max_batch_tokens=320), seed=0)
    assert sorted(len(each) for each in plan.micro_batches(0, 0)) == [1, 7, 8, 8, 8]
    assert plan.num_micro_batches == 5
    assert [len(each) for each in plan_batches([10] * 32, trainer(batch_size=32, max_epochs=1), seed=0).micro_batches(0, 0)] == [8] * 4


@settings(max_examples=60)
@given(st.lists(st.integers(1, 300), min_size=8, max_size=8), st.sampled_from([(1, 3), (2, 1), (2, 2), (4, 1)]), st.booleans())
def test_the_largest_micro_batch_is_as_small_as_any_cut_of_as_many_makes_it(lengths: list[int], shape: tuple[int, int], padding_free: bool) -> None:
    dealt = deal(lengths, range(8), shape, max_rows=8, max_tokens=8 * 300, padding_free=padding_free)
    in_order, num_parts = sorted(lengths, reverse=True), shape[0] * shape[1]

    def size(part: list[int]) -> int:
        return sum(part) if padding_free else len(part) * max(part)

    places = combinations(range(1, 8), num_parts - 1)
    best = min(max(size(in_order[a:b]) for a, b in pairwise((0, *cuts, 8))) for cuts in places)
    sizes = [[size([lengths[i] for i in part]) for part in own] for own in dealt]
    assert max(chain.from_iterable(sizes)) == best
    assert all(len(own) == shape[1] and own == sorted(own, reverse=True) for own in sizes)


@pytest.mark.parametrize(("devices", "batch_size", "most"), [(8, 64, 1.3), (8, 32, 1.35), (4, 32, 1.35), (2, 32, 1.25)])
def test_no_device_waits_long_for_another(devices: int, batch_size: int, most: float) -> None:
    """Steps of full and compressed chains. With as many examples on every device, the slowest of four reads twice its share."""
    rng = random.Random(0)
    lengths = [rng.choice([1, 3]) * rng.randint(60, 120) for _ in range(1000)]
    plan = plan_batches(lengths, trainer(devices=devices, batch_size=batch_size, max_batch_tokens=8192), seed=0)
    ratios = []
    for step, batch in enumerate(plan.global_batches):
        own = [sum(len(each) * max(lengths[i] for i in each) for each in plan.micro_batches(step, device)) for device in range(devices)]
        ratios.append(max(own) * devices / sum(lengths[i] for i in batch))
    assert mean(ratios) < most


def test_micro_batches_hold_examples_of_similar_length() -> None:
    plan = plan_batches(LENGTHS, trainer(devices=2, micro_batch_size=3), seed=5)
    ranges = sorted(
        (min(LENGTHS[i] for i in micro), max(LENGTHS[i] for i in micro)) for device in range(2) for micro in plan.micro_batches(0, device)
    )
    assert all(highest <= lowest for (_, highest), (lowest, _) in pairwise(ranges))


def test_a_number_of_steps_shows_as_many_examples_whatever_their_number() -> None:
    few, many = (plan_batches([10] * count, Trainer(batch_size=8, max_steps=9, max_epochs=3), seed=0).global_batches for count in (20, 200))
    assert [len(each) for each in few] == [len(each) for each in many] == [8] * 9
    shown = Counter(chain.from_iterable(few))
    assert set(shown) == set(range(20)), "passes begin again"
    assert set(shown.values()) == {3, 4}


@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(1, 20), st.floats(0.1, 5), st.integers(0, 3))
def test_every_pass_is_a_permutation_of_all_examples(count: int, batch_size: int, max_epochs: float, seed: int) -> None:
    plan = plan_batches([10] * count, trainer(batch_size=batch_size, max_epochs=max_epochs), seed=seed)
    assert len(plan.global_batches) == max(1, round(count * max_epochs / batch_size))
    stream = list(chain.from_iterable(plan.global_batches))
    assert len(stream) == batch_size * len(plan.global_batches)
    for first in range(0, len(stream), count):
        one_pass = stream[first : first + count]
        assert len(set(one_pass)) == len(one_pass)
        assert set(one_pass) <= set(range(count))


def test_passes_and_seeds_differ_and_a_plan_can_be_made_again() -> None:
    stream = list(chain.from_iterable(plan_batches(LENGTHS, trainer(batch_size=20), seed=5).global_batches))
    assert stream[:100] != stream[100:200]
    assert stream == list(chain.from_iterable(plan_batches(LENGTHS, trainer(batch_size=20), seed=5).global_batches))
    assert stream != list(chain.from_iterable(plan_batches(LENGTHS, trainer(batch_size=20), seed=6).global_batches))


@pytest.mark.parametrize(("count", "epochs", "batch_size", "expected"), [(7, 1.0, 1, 7), (100, 3.0, 24, 12), (3, 1.0, 24, 1), (50, 0.5, 10, 2)])
def test_steps_are_the_passes_asked_for_in_whole_batches(count: int, epochs: float, batch_size: int, expected: int) -> None:
    planned = plan_batches([9] * count, trainer(batch_size=batch_size, max_epochs=epochs, num_validations=5), seed=0)
    assert len(planned.global_batches) == expected
    assert all(len(each) == batch_size for each in planned.global_batches)


def example(prompt: int, completion: int, form: str = "full", *, task: int = 0, token: int = 7) -> EncodedExample:
    return EncodedExample(Encoded([token] * (prompt + completion), [0] * prompt + [1] * completion), form, task)  # type: ignore[arg-type]


def test_a_micro_batch_is_padded_on_the_right_and_its_padding_is_neither_seen_nor_supervised() -> None:
    batch = collate([example(2, 3), example(1, 1, "compress", task=1), example(3, 4, "rewrite")], pad_id=0, num_supervised_global=99)
    assert batch.ids_BT.tolist() == [[7, 7, 7, 7, 7, 0, 0], [7, 7, 0, 0, 0, 0, 0], [7] * 7]
    assert batch.attention_BT.tolist() == [[1, 1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0], [1] * 7]
    assert batch.supervised_BT.int().tolist() == [[0, 0, 1, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1]]
    assert batch.supervised_BT.dtype == torch.bool
    assert [divmod(kind, len(FORMS)) for kind in batch.kind_B.tolist()] == [(0, 0), (1, 1), (0, 2)], "tasks and forms"
    assert batch.num_supervised_global == 99


def test_weights_give_each_form_its_share_of_the_loss_whatever_its_tokens() -> None:
    """By hand: 12 tokens of rationales and 4 of answers are 16; half of the loss is 8 for each."""
    examples = [example(2, 5), example(1, 3, "compress"), example(2, 7), example(1, 1, "compress")]
    assert token_weights(examples, {"full": 0.5, "compress": 0.5}) == {"full": pytest.approx(8 / 12), "compress": pytest.approx(8 / 4)}
    assert token_weights(examples, {"full": 0.25, "compress": 0.75}) == {"full": pytest.approx(4 / 12), "compress": pytest.approx(12 / 4)}
    assert token_weights(examples[:1], {"full": 0.25, "compress": 0.75}) == {"full": pytest.approx(0.25)}


@pytest.mark.parametrize(
    ("steps", "shares"),
    [
        ([["full", "compress"]] * 3, {"full": 0.1, "compress": 0.9}),
        ([["full"], ["compress"]] * 3, {"full": 0.2, "compress": 1.8}),
        ([["full"], ["compress"], ["compress"], ["compress"]], {"full": 0.4, "compress": 1.2}),
        ([["full", "compress"], ["compress", "compress"]], {"full": 0.2, "compress": 0.9}),
        ([["full"]] * 3, {"full": 1.0}),
    ],
)
def test_a_form_has_its_share_of_the_loss_of_all_steps_also_where_steps_hold_one_form(steps: list[list[Form]], shares: dict[Form, float]) -> None:
    """By hand: the mean over steps of what a form counts is its share, 0.1 and 0.9, or 1 of a form alone."""
    assert shares_of_steps(steps, 0.1) == {form: pytest.approx(share) for form, share in shares.items()}


@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_the_weights_of_a_step_follow_from_its_global_batch_in_every_micro_batch() -> None:
    examples = [example(3, number % 5 + 1, ("full", "compress")[number % 2], token=number) for number in range(40)]
    plan = plan_batches([len(each.encoded.ids) for each in examples], trainer(batch_size=8, micro_batch_size=2), seed=1)
    module = MixtureData(examples, examples[:5], plan, pad_id=999, full_loss_ratio=0.3)
    module.trainer = quiet_trainer()
    batches = list(module.train_dataloader())
    for step, indices in enumerate(plan.global_batches):
        counts = {form: sum(sum(examples[i].encoded.loss_mask) for i in indices if examples[i].form == form) for form in ("full", "compress")}
        shares = dict.fromkeys(counts, 0.0)
        for each in batches[step * 4 : step * 4 + 4]:
            for row, weight, supervised in zip(each.ids_BT, each.weight_B, each.supervised_BT, strict=True):
                shares[examples[int(row[0])].form] += float(weight) * int(supervised.sum()) / each.num_supervised_global
        assert all(counts.values())
        assert shares == {"full": pytest.approx(0.3), "compress": pytest.approx(0.7)}
    assert all(each.weight_B is None for each in module.val_dataloader()), "a validation adds up each form, and weighs the means"


def quiet_trainer() -> pl.Trainer:
    return pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)


@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_rows_on_two_sides_of_a_rotary_limit_are_read_in_passes_of_their_own() -> None:
    lengths = [3, 9, 5, 12]
    rows = [EncodedExample(Encoded(list(range(1, length + 1)), [0] * (length - 2) + [1, 1]), FORMS[length % 2]) for length in lengths]
    batch = collate(rows, 0, 8)
    assert split_at_rope_limit(batch, None)[0] is batch
    assert len(split_at_rope_limit(batch, RopeLimit(12, grows=False))) == 1
    for grows, expected in ((False, [[3, 5], [9, 12]]), (True, [[3, 5], [9], [12]])):
        parts = split_at_rope_limit(batch, RopeLimit(5, grows=grows))
        assert [each.attention_BT.sum(dim=1).tolist() for each in parts] == expected
        for part, own in zip(parts, expected, strict=True):
            alone = collate([rows[lengths.index(length)] for length in own], 0, 8)
            assert all(torch.equal(torch.as_tensor(one), torch.as_tensor(other)) for one, other in zip(part[:-1], alone[:-1], strict=True))
        weighted = split_at_rope_limit(batch._replace(weight_B=torch.tensor(lengths)), RopeLimit(5, grows=grows))
        assert [each.weight_B.tolist() for each in weighted if each.weight_B is not None] == expected


@pytest.mark.parametrize("first_step", [0, 3])
def test_the_loader_hands_out_the_plan_from_a_step_on_with_the_global_count(first_step: int) -> None:
    examples = [example(number % 4 + 1, number % 5 + 1, token=number) for number in range(40)]
    plan = plan_batches([len(each.encoded.ids) for each in examples], trainer(batch_size=8, micro_batch_size=2), seed=1)
    module = MixtureData(examples, examples[:5], plan, pad_id=999)
    module.trainer, module.first_step = quiet_trainer(), first_step
    batches = list(module.train_dataloader())
    assert len(batches) == (len(plan.global_batches) - first_step) * 4
    for step in range(first_step, len(plan.global_batches)):
        own = batches[(step - first_step) * 4 : (step - first_step + 1) * 4]
        assert sorted(row[0] for each in own for row in each.ids_BT.tolist()) == sorted(plan.global_batches[step])
        supervised = sum(int(each.supervised_BT.sum()) for each in own)
        assert {each.num_supervised_global for each in own} == {supervised}
        assert supervised == sum(number % 5 + 1 for number in plan.global_batches[step])


@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_validation_shows_every_example_once() -> None:
    examples = [example(number % 9 + 1, 2, token=number) for number in range(75)]
    module = MixtureData(examples[:8], examples, plan_batches([9] * 8, trainer(batch_size=8), seed=0), pad_id=999)
    module.trainer = quiet_trainer()
    seen = [row[0] for each in module.val_dataloader() for row in each.ids_BT.tolist()]
    assert sorted(seen) == list(range(75))


@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_validation_keeps_to_the_tokens_too() -> None:
    examples = [example(number * 37 % 90 + 1, 2, token=number) for number in range(75)]
    module = MixtureData(examples[:8], examples, plan_batches([9] * 8, trainer(batch_size=8), seed=0), pad_id=999, max_tokens=200)
    module.trainer = quiet_trainer()
    batches = list(module.val_dataloader())
    assert sorted(row[0] for each in batches for row in each.ids_BT.tolist()) == list(range(75))
    assert max(each.ids_BT.numel() for each in batches) <= 200
    assert len({len(each.ids_BT) for each in batches}) > 3


def test_devices_see_each_validation_example_once_between_them_and_take_part_in_every_batch() -> None:
    """Sharded weights are gathered by all devices at once: one that had a batch less would keep the others waiting for ever."""
    examples = [example(number % 9 + 1, 2, token=number) for number in range(65)]
    module = MixtureData(examples[:8], examples, plan_batches([9] * 8, trainer(batch_size=8, devices=2), seed=0), pad_id=999)
    by_length = sorted(examples, key=lambda each: len(each.encoded.ids))
    shares = [[module._share(by_length[first : first + 64], device) for first in (0, 64)] for device in (0, 1)]
    assert [[len(each.ids_BT) for each in share] for share in shares] == [[32, 1], [32, 1]]
    counted = [
        row[0] for share in shares for each in share for row, kind in zip(each.ids_BT.tolist(), each.kind_B.tolist(), strict=True) if kind >= 0
    ]
    assert sorted(counted) == list(range(65)), "what fills the last batch counts in no loss"
