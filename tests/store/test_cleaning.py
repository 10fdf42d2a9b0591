"""Cleaning of the store: which entries it removes, and which it keeps."""

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
from filelock import FileLock

from cotexp.commands.cli import main
from cotexp.config import command_line
from cotexp.jobs import pipeline, planning
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.settings.root import Settings
from cotexp.stages.context import Context
from cotexp.store import users
from cotexp.store.claims import Claims
from cotexp.store.cleaning import RECENT_SECONDS, Cleaning, Entry, plan_cleaning, remove
from cotexp.store.specs import Spec
from cotexp.store.store import Store


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


def test_inputs_and_merged_weights_of_used_entries_are_kept(tmp_path: Path) -> None:
    texts = ledger(tmp_path, "texts", teacher={"engine": "local"})
    rationales = ledger(tmp_path, "rationales", teacher={"texts": texts.key})
    checkpoint = artifact(tmp_path, "checkpoint", rationales=[rationales.key], seed=0)
    merged = artifact(tmp_path, "merged", checkpoint=checkpoint.key)
    other = artifact(tmp_path, "checkpoint", rationales=[rationales.key], seed=1)
    others_merged = artifact(tmp_path, "merged", checkpoint=other.key)
    run(tmp_path, "one", checkpoint)
    cleaning = plan_cleaning(tmp_path, now=later())
    assert keys(cleaning.needed) == names((texts, rationales, checkpoint, merged))
    assert keys(cleaning.unneeded) == names((other, others_merged))
    remove(cleaning.unneeded)
    assert keys(plan_cleaning(tmp_path, now=later()).needed) == keys(cleaning.needed)
    assert plan_cleaning(tmp_path, now=later()).unneeded == []


def test_an_unfinished_run_keeps_the_entries_it_resumes_from_including_a_partial_model(tmp_path: Path) -> None:
    rationales = ledger(tmp_path, "rationales", n=1)
    half, nobodys = Spec("checkpoint", {"seed": 0}), Spec("checkpoint", {"seed": 1})
    for each in (half, nobodys):
        (tmp_path / "store" / "checkpoint" / f"{each.key}.partial").mkdir(parents=True)
    run(tmp_path, "one", rationales, half, file="planned.json")
    cleaning = plan_cleaning(tmp_path, now=later())
    assert keys(cleaning.needed) == names((rationales, half))
    assert [each.folder.name for each in cleaning.unneeded] == [f"{nobodys.key}.partial"]


def test_paid_texts_are_removed_only_on_request(tmp_path: Path) -> None:
    paid = (ledger(tmp_path, "texts", teacher={"engine": "api"}), ledger(tmp_path, "rewrites", engine="api"))
    free = ledger(tmp_path, "texts", teacher={"engine": "local"})
    run(tmp_path, "one")
    cleaning = plan_cleaning(tmp_path, now=later())
    assert (keys(cleaning.paid), keys(cleaning.unneeded)) == (names(paid), {free.key})
    assert keys(plan_cleaning(tmp_path, paid=True, now=later()).unneeded) == names((*paid, free))


def test_claimed_and_recent_entries_are_kept(tmp_path: Path) -> None:
    old, new = ledger(tmp_path, "rationales", n=1), ledger(tmp_path, "rationales", n=2)
    assert keys(plan_cleaning(tmp_path).recent) == names((old, new))
    claims = Claims(tmp_path / "store" / "rationales" / new.key / "claims", "me")
    with claims.take(["b"]):
        assert keys(plan_cleaning(tmp_path, now=later()).recent) == {new.key}
    assert plan_cleaning(tmp_path, now=later()).recent == []


def test_a_run_without_a_record_of_what_it_resumes_from_is_refused(tmp_path: Path) -> None:
    ledger(tmp_path, "rationales", n=1)
    (tmp_path / "runs" / "exp" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "exp" / "old" / "settings.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"exp/old did not finish .* run its command again, or delete its folder"):
        plan_cleaning(tmp_path)


def test_the_command_shows_sizes_and_deletes_only_with_its_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


# --- entries that may be needed ------------------------------------------------------------------------------------------


def reasons(cleaning: Cleaning) -> str:
    return "\n".join(cleaning.unproven)


def test_runs_behind_links_keep_their_entries(tmp_path: Path) -> None:
    specs = [ledger(tmp_path, "rationales", n=number) for number in range(4)]
    run(tmp_path, "one", specs[0])
    run(tmp_path / "archive", "two", specs[1])
    run(tmp_path, "three", specs[2])
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "archive" / "runs" / "exp")
    three = tmp_path / "runs" / "exp" / "three"
    three.rename(tmp_path / "archive" / "three")
    three.symlink_to(tmp_path / "archive" / "three")
    (tmp_path / "runs" / "exp" / "round").symlink_to(tmp_path / "runs")
    cleaning = plan_cleaning(tmp_path, now=later())
    assert (keys(cleaning.needed), keys(cleaning.unneeded), cleaning.num_runs) == (names(tuple(specs[:3])), {specs[3].key}, 3)
    shutil.rmtree(tmp_path / "archive")
    cleaning = plan_cleaning(tmp_path, now=later())
    assert (cleaning.unneeded, len(cleaning.unproven)) == ([], 1)
    assert "cannot be read (No such file or directory)" in reasons(cleaning)


@pytest.mark.parametrize("kept", ["stages.json", "planned.json"])
def test_a_run_without_settings_keeps_its_entries(tmp_path: Path, kept: str) -> None:
    spec, other = ledger(tmp_path, "rationales", n=1), ledger(tmp_path, "rationales", n=2)
    run(tmp_path, "one", spec, file=kept)
    (tmp_path / "runs" / "exp" / "one" / "settings.json").unlink()
    cleaning = plan_cleaning(tmp_path, now=later())
    assert (keys(cleaning.needed), keys(cleaning.unneeded)) == ({spec.key}, {other.key})


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "123", "null", '{"a": 1}', '{"a": {"key": 5, "path": ""}}'])
@pytest.mark.parametrize("name", ["stages.json", "planned.json"])
def test_a_run_with_unreadable_needs_keeps_everything(tmp_path: Path, name: str, content: str) -> None:
    spec = ledger(tmp_path, "rationales", n=1)
    run(tmp_path, "whole")
    run(tmp_path, "broken", spec)
    folder = tmp_path / "runs" / "exp" / "broken"
    (folder / "metrics.json").write_text("{}")
    (folder / "stages.json").rename(folder / name)
    (folder / name).write_text(content)
    cleaning = plan_cleaning(tmp_path, now=later())
    assert (cleaning.unneeded, keys(next(iter(cleaning.unproven.values())))) == ([], {spec.key})
    assert f"{folder / name} " in reasons(cleaning)
    assert "command again" in reasons(cleaning)


@pytest.mark.parametrize("owner_cleans", [True, False])
@pytest.mark.parametrize("other", ["beside", "elsewhere/below"])
def test_outputs_folders_that_share_a_store_keep_each_others_entries(tmp_path: Path, owner_cleans: bool, other: str) -> None:
    owner, guest = tmp_path / "owner", tmp_path / other
    specs = [ledger(owner, "rationales", n=number) for number in range(3)]
    run(owner, "one", specs[0])
    run(guest, "two", specs[1])
    (guest / "store").symlink_to(owner / "store")
    users.register_outputs(guest)
    cleaning = plan_cleaning(owner if owner_cleans else guest, now=later())
    assert (keys(cleaning.needed), keys(cleaning.unneeded)) == (names(tuple(specs[:2])), {specs[2].key})
    guest.rename(tmp_path / "gone")
    cleaning = plan_cleaning(owner, now=later())
    assert cleaning.unneeded == []
    assert f"{guest} has used this store but does not exist now; if it is gone for good, remove " in reasons(cleaning)


def test_a_link_to_a_store_with_unknown_users_keeps_everything(tmp_path: Path) -> None:
    spec = ledger(tmp_path / "shared", "rationales", n=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "store").symlink_to(tmp_path / "shared" / "store")
    run(tmp_path / "mine", "one")
    cleaning = plan_cleaning(tmp_path / "mine", now=later())
    assert (cleaning.unneeded, len(cleaning.unproven)) == ([], 1)
    assert "which unregistered outputs folders of earlier versions may use" in reasons(cleaning)
    (tmp_path / "shared" / "store" / ".outputs").mkdir()
    (tmp_path / "shared" / "store" / ".outputs" / "all").touch()
    assert keys(plan_cleaning(tmp_path / "mine", now=later()).unneeded) == {spec.key}


def test_linked_entries_and_foreign_names_are_kept(tmp_path: Path) -> None:
    linked, below, gone = artifact(tmp_path, "checkpoint", n=1), artifact(tmp_path, "model", n=2), artifact(tmp_path, "checkpoint", n=3)
    store, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for link in (store / "checkpoint" / linked.key, store / "model"):
        link.rename(elsewhere / link.name)
        link.symlink_to(elsewhere / link.name)
    (store / "checkpoint" / "my backup").mkdir()
    (store / "checkpoint" / f"{gone.key}.bak").mkdir()
    run(tmp_path, "one")
    before = sorted(tmp_path.rglob("*"))
    cleaning = plan_cleaning(tmp_path, now=later())
    assert keys(cleaning.unneeded) == {gone.key}
    assert reasons(cleaning).count("is a link") == 2
    assert reasons(cleaning).count("does not have the name of a stored entry") == 2
    assert remove(entry for entries in cleaning.unproven.values() for entry in entries if "is a link" in entry.problem) == []
    assert sorted(tmp_path.rglob("*")) == before
    assert (store / "checkpoint" / linked.key / "manifest.json").is_file()
    assert (elsewhere / "model" / below.key / "manifest.json").is_file()


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "123", "null", None])
def test_possible_inputs_of_an_entry_without_a_description_are_kept(tmp_path: Path, content: str | None) -> None:
    texts = ledger(tmp_path, "texts", n=1)
    rationales = ledger(tmp_path, "rationales", texts=texts.key)
    stray = ledger(tmp_path, "rationales", n=2)
    run(tmp_path, "one", rationales)
    for spec in (rationales, stray):
        path = tmp_path / "store" / "rationales" / spec.key / "spec.json"
        path.unlink() if content is None else path.write_text(content)
    cleaning = plan_cleaning(tmp_path, now=later())
    assert keys(cleaning.needed) == {rationales.key}
    assert cleaning.unneeded == []
    assert f"the inputs of {tmp_path / 'store' / 'rationales' / rationales.key} are unknown" in reasons(cleaning)


def test_old_entries_that_a_living_process_uses_are_kept(tmp_path: Path) -> None:
    texts = ledger(tmp_path, "texts", n=1)
    rationales, other = ledger(tmp_path, "rationales", texts=texts.key), ledger(tmp_path, "rationales", n=2)
    run(tmp_path, "one")
    assert len(plan_cleaning(tmp_path, now=later()).unneeded) == 3
    with users.registered(tmp_path) as use:
        cleaning = plan_cleaning(tmp_path, now=later())
        assert cleaning.unneeded == []
        assert f"process {os.getpid()} on " in reasons(cleaning)
        use([rationales.key])
        cleaning = plan_cleaning(tmp_path, now=later())
        assert (keys(cleaning.needed), keys(cleaning.unneeded)) == (names((texts, rationales)), {other.key})
    assert len(plan_cleaning(tmp_path, now=later()).unneeded) == 3
    assert not list((tmp_path / "store" / ".users").glob("*.json"))


def test_a_remote_process_counts_as_alive_until_its_lease_expires(tmp_path: Path) -> None:
    spec = ledger(tmp_path, "rationales", n=1)
    run(tmp_path, "one")
    place = tmp_path / "store" / ".users" / "elsewhere-1-a.json"
    place.parent.mkdir()
    place.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 0.0, "keys": [spec.key]}))
    assert keys(plan_cleaning(tmp_path, now=later()).needed) == {spec.key}
    os.utime(place, (time.time() - 3600, time.time() - 3600))
    assert keys(plan_cleaning(tmp_path, now=later()).unneeded) == {spec.key}
    place.write_text("{}")
    assert plan_cleaning(tmp_path, now=later()).unneeded == []


def test_a_starting_run_keeps_everything_until_its_needs_are_known(tmp_path: Path) -> None:
    spec = ledger(tmp_path, "rationales", n=1)
    run(tmp_path, "one")
    begins = tmp_path / "runs" / "exp" / "two"
    begins.mkdir()
    with FileLock(begins / ".lock"):
        cleaning = plan_cleaning(tmp_path, now=later())
        assert (cleaning.unneeded, reasons(cleaning)) == ([], f"a process is starting {begins}, and its needs are not known yet")
    assert keys(plan_cleaning(tmp_path, now=later()).unneeded) == {spec.key}


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "123", "null"])
def test_an_unreadable_claim_protects_its_entry(tmp_path: Path, content: str) -> None:
    spec = ledger(tmp_path, "rationales", n=1)
    run(tmp_path, "one")
    (tmp_path / "store" / "rationales" / spec.key / "claims" / "who.json").write_text(content)
    assert keys(plan_cleaning(tmp_path, now=later()).recent) == {spec.key}


def test_an_entry_claimed_after_planning_is_kept(tmp_path: Path) -> None:
    spec = ledger(tmp_path, "rationales", n=1)
    run(tmp_path, "one")
    cleaning = plan_cleaning(tmp_path, now=later())
    folder = tmp_path / "store" / "rationales" / spec.key
    with Claims(folder / "claims", "me").take(["b"]):
        assert remove(cleaning.unneeded) == []
    assert folder.is_dir()
    assert keys(remove(cleaning.unneeded)) == {spec.key}


def test_the_command_gives_the_reason_for_keeping_an_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ledger(tmp_path, "rationales", n=1)
    folder = tmp_path / "store" / "rationales" / spec.key
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))
    run(tmp_path, "one", Spec("rationales", {"n": 2}))
    (tmp_path / "runs" / "exp" / "one" / "planned.json").write_text("{")
    main(["clean", "--outputs", str(tmp_path), "--delete"])
    said = capsys.readouterr().out
    assert "Left alone: 1 entries that seem to be unneeded, which cannot be proven" in said
    assert f"{tmp_path / 'runs' / 'exp' / 'one' / 'planned.json'} is not valid JSON; run that run's command again" in said
    assert folder.is_dir()


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
    overrides = RUNS[name]
    words = [each for each in QUICK if "~max_rounds" not in overrides or "max_rounds" not in each]
    words += [each for each in overrides if not each.startswith("~")]
    return command_line.check_command_line([*words, f"paths.outputs={outputs}"], multirun=False)[0]


def stop(row: dict[str, float], num_steps: int) -> None:
    raise RunFailed("stopped")


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """An outputs folder with three finished runs and a stopped one; name -> folder of each."""
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
def test_whatever_runs_are_deleted_the_others_stay_finished_and_compute_nothing_new(lived_in: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    source, folders = lived_in
    contexts = {name: pipeline.make_context(settings_of(source, name), plan=True) for name in RUNS}
    before = {name: still_to_do(context) for name, context in contexts.items()}
    freed = {}
    for kept in itertools.chain.from_iterable(itertools.combinations(RUNS, count) for count in range(len(RUNS) + 1)):
        outputs = tmp_path / "outputs"
        shutil.copytree(source, outputs)
        for name in RUNS.keys() - set(kept):
            shutil.rmtree(outputs / folders[name])
        cleaning: Cleaning = plan_cleaning(outputs, now=later())
        remove(cleaning.unneeded)
        freed[kept] = len(cleaning.unneeded)
        for name in kept:
            context = dataclasses.replace(contexts[name], store=Store(outputs / "store"))
            assert pipeline.is_finished(outputs / folders[name], pipeline.stages_used(context)) == (not name.startswith("stopped"))
            assert still_to_do(context) == before[name], f"{name} after {kept} were kept"
        shutil.rmtree(outputs)
    assert all(not missing or name.startswith("stopped") for name, counts in before.items() for missing in counts)
    assert freed[tuple(RUNS)] == 0
    assert freed[()] == max(freed.values()) > freed[("macc",)] > 0
