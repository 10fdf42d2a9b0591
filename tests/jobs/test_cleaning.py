"""What cleaning of the store takes, and what it never takes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from cotexp import schema
from cotexp.commands.cli import main
from cotexp.jobs import pipeline, planning
from cotexp.jobs.cleaning import RECENT_SECONDS, Cleaning, Entry, plan_cleaning, remove
from cotexp.jobs.specs import Context
from cotexp.jobs.store import Claims, Spec, Store
from cotexp.sections import ConfigError, RunFailed
from cotexp.settings import Settings


def later() -> float:
    return time.time() + 2 * RECENT_SECONDS


def ledger(outputs: Path, stage: str, **description: Any) -> Spec:
    """A ledger of one row."""
    spec = Spec(stage, description)
    Store(outputs / "store").ledger(spec).fill(["a"], lambda ids, emit: emit({"id": "a"}), chunk_size=1)
    return spec


def artifact(outputs: Path, stage: str, **description: Any) -> Spec:
    spec = Spec(stage, description)
    folder = outputs / "store" / stage / spec.key
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"stage": stage, "key": spec.key, **description}))
    return spec


def run(outputs: Path, name: str, *used: Spec, file: str = "stages.json") -> None:
    folder = outputs / "runs" / "exp" / name
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text("{}")
    (folder / file).write_text(json.dumps({f"{each.stage}/{number}": {"key": each.key, "path": ""} for number, each in enumerate(used)}))


def keys(entries: list[Entry]) -> set[str]:
    return {each.key for each in entries}


def names(specs: tuple[Spec, ...]) -> set[str]:
    return {each.key for each in specs}


def test_what_a_run_used_was_made_of_other_things_which_stay_too_and_so_do_merged_weights(tmp_path: Path) -> None:
    texts = ledger(tmp_path, "texts", teacher={"engine": "local"})
    rationales = ledger(tmp_path, "rationales", teacher={"texts": texts.key})
    checkpoint = artifact(tmp_path, "checkpoint", rationales=[rationales.key], seed=0)
    merged = artifact(tmp_path, "merged", checkpoint=checkpoint.key)
    other = artifact(tmp_path, "checkpoint", rationales=[rationales.key], seed=1)
    others_merged = artifact(tmp_path, "merged", checkpoint=other.key)
    run(tmp_path, "one", checkpoint)
    found = plan_cleaning(tmp_path, now=later())
    assert keys(found.needed) == names((texts, rationales, checkpoint, merged))
    assert keys(found.unneeded) == names((other, others_merged))
    remove(found.unneeded)
    assert keys(plan_cleaning(tmp_path, now=later()).needed) == keys(found.needed)
    assert plan_cleaning(tmp_path, now=later()).unneeded == []


def test_an_unfinished_run_keeps_what_it_goes_on_from_its_half_made_model_included(tmp_path: Path) -> None:
    rationales = ledger(tmp_path, "rationales", n=1)
    half, nobodys = Spec("checkpoint", {"seed": 0}), Spec("checkpoint", {"seed": 1})
    for each in (half, nobodys):
        (tmp_path / "store" / "checkpoint" / f"{each.key}.partial").mkdir(parents=True)
    run(tmp_path, "one", rationales, half, file="planned.json")
    found = plan_cleaning(tmp_path, now=later())
    assert keys(found.needed) == names((rationales, half))
    assert [each.folder.name for each in found.unneeded] == [f"{nobodys.key}.partial"]


def test_texts_that_were_paid_for_go_only_when_asked_for(tmp_path: Path) -> None:
    paid = (ledger(tmp_path, "texts", teacher={"engine": "api"}), ledger(tmp_path, "rewrites", engine="api"))
    free = ledger(tmp_path, "texts", teacher={"engine": "local"})
    run(tmp_path, "one")
    found = plan_cleaning(tmp_path, now=later())
    assert (keys(found.paid), keys(found.unneeded)) == (names(paid), {free.key})
    assert keys(plan_cleaning(tmp_path, paid=True, now=later()).unneeded) == names((*paid, free))


def test_what_a_process_works_on_or_wrote_just_now_is_left_alone(tmp_path: Path) -> None:
    old, new = ledger(tmp_path, "rationales", n=1), ledger(tmp_path, "rationales", n=2)
    assert keys(plan_cleaning(tmp_path).recent) == names((old, new))
    claims = Claims(tmp_path / "store" / "rationales" / new.key / "claims", "me")
    with claims.take(["b"]):
        assert keys(plan_cleaning(tmp_path, now=later()).recent) == {new.key}
    assert plan_cleaning(tmp_path, now=later()).recent == []


def test_a_run_that_does_not_say_what_it_goes_on_from_ends_the_cleaning(tmp_path: Path) -> None:
    ledger(tmp_path, "rationales", n=1)
    (tmp_path / "runs" / "exp" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "exp" / "old" / "settings.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"exp/old did not finish .* run its command again, or delete its folder"):
        plan_cleaning(tmp_path)


def test_the_command_shows_sizes_first_and_deletes_when_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ledger(tmp_path, "rationales", n=1)
    folder = tmp_path / "store" / "rationales" / spec.key
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))
    run(tmp_path, "one")
    main(["clean", "--outputs", str(tmp_path)])
    assert "Nothing is deleted yet" in capsys.readouterr().out
    assert folder.exists()
    main(["clean", "--outputs", str(tmp_path), "--delete"])
    assert "Deleted 1 entries" in capsys.readouterr().out
    assert not folder.exists()
    with pytest.raises(SystemExit, match="has no store"):
        main(["clean", "--outputs", str(tmp_path / "nowhere")])


# --- real runs -------------------------------------------------------------------------------------------------------------

QUICK = (
    *("debug=fast", "tracking=none", "evaluation.latency=false", "task.num_train=6", "task.num_validation=2", "task.num_test=3"),
    *("teacher.max_new_tokens=160", "compressor.max_new_tokens=160", "evaluation.max_new_tokens=8", "compression.max_rounds=1"),
)
RUNS = {
    "macc": [],
    "another seed": ["seed=1"],
    "no compression": ["compression=none", "~max_rounds"],
    "stopped while it trained": ["trainer.learning_rate=2e-3"],
}


def settings_of(outputs: Path, name: str) -> Settings:
    own = RUNS[name]
    words = [each for each in QUICK if "~max_rounds" not in own or "max_rounds" not in each]
    words += [each for each in own if not each.startswith("~")]
    return schema.check_command_line([*words, f"paths.outputs={outputs}"], multirun=False)[0]


def stop(row: dict[str, float], num_steps: int) -> None:
    raise RunFailed("stopped")


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A folder of outputs with three finished runs and one that was stopped, and their folders by name."""
    outputs = tmp_path_factory.mktemp("lived_in")
    folders = {}
    for name in RUNS:
        context = pipeline.prepare(settings_of(outputs, name))
        if name.startswith("stopped"):
            context.on_curve = stop
            with pytest.raises(RunFailed, match="stopped"):
                pipeline.run(context)
            folders[name] = next(path.parent for path in (outputs / "runs").rglob("planned.json") if not (path.parent / "stages.json").exists())
        else:
            folders[name] = pipeline.run(context).folder
    return outputs, {name: each.relative_to(outputs) for name, each in folders.items()}


def still_to_do(context: Context) -> list[int | None]:
    return [each.num_missing for each in planning.plan(context)]


@pytest.mark.slow
def test_whatever_runs_are_deleted_the_others_stay_finished_and_have_nothing_new_to_compute(
    lived_in: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    source, folders = lived_in
    contexts = {name: pipeline.make_context(settings_of(source, name), plan=True) for name in RUNS}
    before = {name: still_to_do(context) for name, context in contexts.items()}
    freed = {}
    for kept in itertools.chain.from_iterable(itertools.combinations(RUNS, count) for count in range(len(RUNS) + 1)):
        outputs = tmp_path / "outputs"
        shutil.copytree(source, outputs)
        for name in RUNS.keys() - set(kept):
            shutil.rmtree(outputs / folders[name])
        found: Cleaning = plan_cleaning(outputs, now=later())
        remove(found.unneeded)
        freed[kept] = len(found.unneeded)
        for name in kept:
            context = dataclasses.replace(contexts[name], store=Store(outputs / "store"))
            assert pipeline.is_finished(outputs / folders[name], pipeline.stages_used(context)) == (not name.startswith("stopped"))
            assert still_to_do(context) == before[name], f"{name} after {kept} were kept"
        shutil.rmtree(outputs)
    assert all(not missing or name.startswith("stopped") for name, own in before.items() for missing in own)
    assert freed[tuple(RUNS)] == 0
    assert freed[()] == max(freed.values()) > freed[("macc",)] > 0
