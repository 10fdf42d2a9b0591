"""What a plan says about paid servers: calls, tokens and money, from what is known before the first call and after some."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotexp.commands.plan import print_plan
from cotexp.config.command_line import check_command_line
from cotexp.jobs import costs, pipeline, planning
from cotexp.jobs.costs import ApiCost
from cotexp.stages import rewrites
from cotexp.stages.context import Context

SERVER = [f"compressor.server.{each}" for each in ("service=local", "model=m", "base_url=http://localhost:1/v1", "input_price=2", "output_price=10")]


def context_of(tmp_path: Path, *overrides: str) -> Context:
    sizes = ("task.num_train=6", "task.num_validation=2", "task.num_test=2", f"paths.outputs={tmp_path / 'outputs'}")
    settings = check_command_line(["compressor=api", *SERVER, *sizes, "compression.max_rounds=3", *overrides], multirun=False)[0]
    return pipeline.make_context(settings, plan=True)


def estimated(context: Context) -> list[ApiCost]:
    return list(costs.estimate(context, [(each.name, each.spec, each.num_missing or 0) for each in planning.plan(context)]))


def test_calls_are_bounded_and_priced_before_the_first_is_made(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    [cost] = estimated(context)
    assert (cost.stage, cost.num_calls) == ("rewrites/stories", 8 * 3)
    lengths = [len(each.references[0]) / 4 for each in context.training_questions]
    assert cost.written_tokens == pytest.approx(min(4 * sum(lengths) / len(lengths), 192))
    assert cost.prompt_tokens > cost.written_tokens
    assert cost.dollars == pytest.approx(24 * (2 * cost.prompt_tokens + 10 * cost.written_tokens) / 1e6)
    assert "at most 24 calls to m of local" in str(cost)
    assert "US dollars" in str(cost)
    assert "of a model that thinks first each chain has two parts" in str(cost)


def test_calls_that_were_made_are_the_measure_of_those_to_come(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    spec = rewrites.spec(context, "stories")
    assert spec is not None
    usages = [{"prompt_tokens": 100, "completion_tokens": 10}, {"prompt_tokens": 300, "completion_tokens": 30}, {}]
    context.store.ledger(spec).fill(
        ["a", "b", "c"],
        lambda ids, emit: [emit({"id": each, "usage": usage}) for each, usage in zip(ids, usages, strict=True)] and None,
        chunk_size=3,
    )
    [cost] = estimated(context)
    assert (cost.prompt_tokens, cost.written_tokens) == (200, 20)
    assert "mean of 2 made before" in str(cost)


@pytest.mark.slow
def test_without_prices_no_sum_is_invented(tmp_path: Path) -> None:
    [cost] = estimated(context_of(tmp_path, "compressor.server.input_price=0", "compressor.server.output_price=0"))
    assert str(cost).endswith("no price is set")


@pytest.mark.slow
def test_what_no_server_writes_costs_nothing(tmp_path: Path) -> None:
    settings = check_command_line(["task.num_train=4", "task.num_test=2", f"paths.outputs={tmp_path / 'outputs'}"], multirun=False)[0]
    assert estimated(pipeline.make_context(settings, plan=True)) == []


def test_the_plan_prints_what_paid_calls_will_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(context_of(tmp_path).settings)
    printed = capsys.readouterr().out
    assert "rewrites/stories: at most 24 calls to m of local" in printed.replace("\n", " ")
    assert not (tmp_path / "outputs").exists()
