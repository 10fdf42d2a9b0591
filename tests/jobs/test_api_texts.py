"""A role behind a server in the pipeline: what its texts are keyed by, that they are paid once, and that a key leaks nowhere."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import forked
import pytest

from cotexp.config import command_line
from cotexp.jobs import api_texts, pipeline, planning
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.stages import rewrites, texts
from cotexp.stages.context import Context, is_deterministic

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "tests" / "inference"))
from fault_server import served as serving  # noqa: E402
from fault_server import told  # noqa: E402

KEY = "sk-planted-9876543210"
ANSWER = "We add both numbers. \n The answer is \\boxed{7}."


def overrides(role: str, url: str, *more: str) -> list[str]:
    return [
        *(f"{role}=api", f"{role}.server.service=test", f"{role}.server.model=m", f"{role}.server.base_url={url}"),
        *("task.num_train=12", "task.num_validation=4", "task.num_test=4", "tracking=none", *more),
    ]


def context(model: Path, outputs: Path, *chosen: str) -> Context:
    own = [f"model.path={model}", f"paths.outputs={outputs}"]
    return pipeline.make_context(command_line.check_command_line([*chosen, *own], multirun=False)[0], plan=True)


# --- keys ------------------------------------------------------------------------------------------------------------------

SAME = ("base_url=http://b/v1", "input_price=3", "output_price=3", "timeout=9", "max_attempts=3", "api_key_env=K", "token_limit_field=max_tokens")
OTHER = ("service=other", "model=other", "send_seed=false", "extra_body='{\"top_p\": 0.9}'")


@pytest.mark.slow
@pytest.mark.parametrize("role", ["teacher", "compressor"])
def test_texts_are_keyed_by_service_model_and_sampling_and_not_by_address_prices_or_limits(role: str, random_model: Path, tmp_path: Path) -> None:
    def keys(*changes: str) -> tuple[str, str]:
        made = context(random_model, tmp_path, *overrides(role, "http://a/v1", *changes))
        spec = (texts.spec if role == "teacher" else rewrites.spec)(made, "stories")
        assert spec is not None
        return spec.key, pipeline.run_key(made)

    first = keys()
    same = {change: keys(f"{role}.server.{change}") for change in SAME}
    assert {change for change, own in same.items() if own != first} == set()
    others = [keys(f"{role}.server.{change}")[0] for change in OTHER]
    others += [keys(f"{role}.{change}")[0] for change in ("temperature=0.1", "seed=1", "max_new_tokens=9")]
    others.append(keys("task.prompt='{question}'" if role == "teacher" else "compression.prompt='{rationale}'")[0])
    assert len({first[0], *others}) == 1 + len(others)


def test_a_server_is_never_taken_to_answer_the_same_twice(random_model: Path, tmp_path: Path) -> None:
    made = context(random_model, tmp_path, *overrides("compressor", "http://a/v1", "compressor.temperature=0"))
    assert not is_deterministic(made.settings)


def test_a_plan_names_the_texts_of_servers_and_needs_no_key(random_model: Path, tmp_path: Path) -> None:
    made = context(
        random_model, tmp_path, *overrides("compressor", "http://a/v1", "compressor.server.api_key_env=NOT_SET", "compression.max_rounds=3")
    )
    planned = {each.name: (each.num_wanted, each.num_missing) for each in planning.plan(made)}
    assert planned["rewrites/stories"] == planned["rounds/stories"] == (48, 48)
    with pytest.raises(
        ConfigError, match=r"compressor\.server\.api_key_env must name an environment variable that holds the key; NOT_SET is not set"
    ):
        api_texts.check_keys(made.settings)


# --- money -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_limit_on_money_counts_what_earlier_starts_paid(random_model: Path, tmp_path: Path) -> None:
    prices = ["teacher.server.input_price=1e6", "teacher.server.output_price=1e6", "teacher.max_new_tokens=10"]  # a token is a dollar
    prompts = {f"q/{number}": f"row {number}" for number in range(60)}

    def stored(url: str, max_cost: float) -> tuple[int, float, str]:
        """(texts stored afterwards, dollars spent on them, failure)."""
        made = context(random_model, tmp_path, *overrides("teacher", f"{url}/v1", f"teacher.server.max_cost={max_cost}", *prices))
        spec = texts.spec(made, "stories")
        assert spec is not None
        failure = ""
        try:
            assert set(api_texts.texts(made, "teacher", spec, prompts, of_role=[spec], what="texts")) == set(prompts)
        except RunFailed as error:
            failure = str(error)
        return len(made.store.ledger(spec).read()), api_texts.paid(made, [spec]), failure

    with serving(latency=0.0, shares={}) as url:
        first, spent_first, failure = stored(url, 230.0)
        again, spent_again, failure_again = stored(url, 230.0)
        assert told(url, "counts")["requests"] == first, "the second start may spend nothing more"
        whole, spent, none = stored(url, 1000.0)
        assert told(url, "counts")["requests"] == len(prompts)
    assert 0 < first == again < whole == len(prompts)
    assert 0 < spent_first == spent_again <= 230 < spent
    assert "max_cost is reached" in failure
    assert "max_cost is reached" in failure_again
    assert none == ""


def test_tokens_and_dollars_of_a_run_leave_out_the_texts_of_others_and_what_the_server_does_not_report(random_model: Path, tmp_path: Path) -> None:
    made = context(random_model, tmp_path, *overrides("teacher", "http://a/v1"))
    spec = texts.spec(made, "stories")
    assert spec is not None
    counted = {"prompt_tokens": 10, "completion_tokens": 3, "cost": 0.5}
    usages = {"own/0": counted, "own/1": {**counted, "cost": 0.25}, "refused/0": {"cost": 0.0}, "other/0": counted, "silent/0": {"cost": 1.0}}
    rows = [
        {"id": name, "finish_reason": "filtered" if name == "refused/0" else "stop", "usage": usage, "written": 0} for name, usage in usages.items()
    ]
    folder = made.store.ledger(spec).folder
    folder.mkdir(parents=True)
    (folder / "rows-w.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    used = {"own/0", "own/1", "refused/0"}
    assert api_texts.used(made, "teacher", [spec], used) == {"teacher/num_tokens_in": 20, "teacher/num_tokens_out": 6, "teacher/dollars": 0.75}
    assert api_texts.used(made, "teacher", [spec], {*used, "silent/0"}) == {"teacher/dollars": 1.75}
    assert api_texts.used(made, "teacher", [spec], {"refused/0"}) == {"teacher/num_tokens_in": 0, "teacher/num_tokens_out": 0}


# --- a whole run -------------------------------------------------------------------------------------------------------------


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.slow
def test_an_interrupted_run_goes_on_counts_every_outcome_and_leaves_no_key_anywhere(random_model: Path, tmp_path: Path) -> None:
    """Teacher and compressor sit behind servers that fail and repeat the key in their errors; W&B writes its offline files."""
    environment = {**os.environ, "PLANTED": KEY, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    names = [f"{role}.server.{name}" for role in ("teacher", "compressor") for name in ("api_key_env=PLANTED", "input_price=1", "output_price=2")]
    sizes = ["teacher.num_samples=3", "teacher.batch_size=4", "compression.max_rounds=2", "trainer.max_epochs=1", "evaluation.latency=false"]
    shares = {"too_many": 0.05, "server_error": 0.1, "filtered": 0.1, "length": 0.1}

    def start(teacher: str, compressor: str) -> forked.Process:
        chosen = [*overrides("teacher", f"{teacher}/v1"), *overrides("compressor", f"{compressor}/v1", *names, *sizes), "selection.validation=all"]
        command = ["run.py", *chosen, "tracking=wandb", f"model.path={random_model}", f"paths.outputs={tmp_path / 'outputs'}"]
        return forked.start(command, cwd=ROOT, env=environment, together=True)

    with serving(latency=0.3, shares=shares, text=ANSWER) as teacher, serving(latency=0.0, shares=shares, text="We add.") as compressor:
        said = []
        for number, (ending, code) in enumerate([(signal.SIGINT, 130), (signal.SIGTERM, 143)], 1):
            process = start(teacher, compressor)
            while told(teacher, "counts")["answered"] < 8 * number:
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
            process.send_signal(ending)
            said.append(process.communicate()[0])
            assert process.returncode == code, said[-1]
            assert "Traceback" not in said[-1]
            assert f"cotexp: stopped by {ending.name}; everything computed is kept" in said[-1]
        process = start(teacher, compressor)
        said.append(process.communicate()[0])
        assert process.returncode == 0, said[-1]
        requests: list[dict[str, Any]] = told(teacher, "requests")
        final = told(teacher, "counts")["requests"], told(compressor, "counts")["requests"]
    assert "Retry" not in "".join(said)

    texts = [json.loads(line) for path in (tmp_path / "outputs" / "store" / "texts").rglob("rows-*.jsonl") for line in path.read_text().splitlines()]
    assert len({each["id"] for each in texts}) == len(texts) == 3 * 16
    num_answered = sum(each["answered"] is not None for each in requests)
    assert num_answered <= len(texts) + 2 * 4, "at most the texts in flight are paid again"

    metrics = json.loads(next((tmp_path / "outputs" / "runs").rglob("metrics.json")).read_text())
    assert metrics["rationales/num_written"] == metrics["teacher/num_texts"] == 48
    assert metrics["rationales/num_filtered"] == sum(each["finish_reason"] == "filtered" for each in texts) > 0
    assert metrics["rationales/num_truncated"] == sum(each["finish_reason"] == "length" for each in texts) > 0
    assert metrics["rounds/num_filtered"] > 0
    assert metrics["rounds/num_written"] == metrics["compressor/num_texts"] < final[1]
    expected = sum(each["usage"]["prompt_tokens"] * 1 + each["usage"]["completion_tokens"] * 2 for each in texts) / 1e6
    assert metrics["teacher/cost_dollars"] == pytest.approx(expected)
    for role in ("teacher", "compressor"):
        own, of_ledgers = ("num_tokens_in", "num_tokens_out", "dollars"), ("num_prompt_tokens", "num_completion_tokens", "cost_dollars")
        found = [metrics[f"{role}/{name}"] for name in own]
        assert found == pytest.approx([metrics[f"{role}/{name}"] for name in of_ledgers]), "no other run reads these ledgers"

    stored = everything_below(tmp_path)
    assert b"PLANTED" in stored, "the variable's name is a setting"
    assert list((tmp_path / "outputs" / "wandb").rglob("*.wandb"))
    assert KEY.encode() not in stored
    assert KEY not in "".join(said)
