"""Help, completion, the composed settings and the plan come without heavy imports and leave nothing behind."""

from __future__ import annotations

import ast
import json
import logging.config
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hydra._internal.hydra import Hydra

from cotexp.config.help_page import help_text as help_page_text
from cotexp.settings.base import ConfigError

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"

SCRIPT = """
import json, runpy, sys
target, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = target
sys.path.insert(0, {root!r})
code = 0
try:
    runpy.run_path(target, run_name="__main__")
except SystemExit as end:
    code = end.code
print("MODULES", json.dumps([code, sorted(name for name in sys.modules if "." not in name)]), file=sys.stderr)
"""

HEAVY = {
    *("torch", "transformers", "pytorch_lightning", "lightning", "peft", "wandb", "matplotlib", "pandas", "scipy"),
    *("datasets", "pyarrow", "math_verify", "sympy", "latex2sympy2_extended", "reasoning_gym"),
    *("openai", "tenacity", "httpx2", "joblib", "submitit", "ray", "optuna"),
}


class Outcome(NamedTuple):
    text: str
    errors: str
    heavy: set[str]


def start(*arguments: str, folder: Path, **environment: str) -> Outcome:
    """What run.py prints in `folder`, and which large libraries it has imported by the end.

    Raises: AssertionError when it ends with anything but success.
    """
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(root=str(ROOT)), str(ROOT / "run.py"), *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    errors, marker, found = done.stderr.rpartition("MODULES ")
    assert marker, f"the command died: {done.stderr}"
    code, modules = json.loads(found)
    assert code in (0, None), f"{code}\n{errors}"
    return Outcome(done.stdout, errors, HEAVY & set(modules))


@pytest.fixture(scope="module")
def help_page(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return start("--help", folder=tmp_path_factory.mktemp("help"))


@pytest.mark.slow
def test_the_measurement_sees_a_heavy_import(tmp_path: Path) -> None:
    script = SCRIPT.replace("code = 0", "code = 0; import scipy")
    done = subprocess.run(
        [sys.executable, "-c", script.format(root=str(ROOT)), str(ROOT / "run.py"), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "scipy" in json.loads(done.stderr.rpartition("MODULES ")[2])[1]


def test_the_package_itself_imports_nothing_but_its_functions() -> None:
    code = "import sys; before = set(sys.modules); import cotexp; print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(ast.literal_eval(done.stdout)) <= {"cotexp", *sys.stdlib_module_names}


def test_help_imports_nothing_heavy(help_page: Outcome) -> None:
    assert help_page.heavy == set()


def test_help_names_every_option_of_every_slot(help_page: Outcome) -> None:
    listed = {line.split("= ")[0]: set(line.split("= ")[1].split(" | ")) for line in help_page.text.splitlines() if "= " in line and line[0] != " "}
    for group in (path for path in CONF.iterdir() if path.is_dir() and path.name not in ("report", "hydra")):
        assert listed[group.name] == {str(path.relative_to(group).with_suffix("")) for path in group.rglob("*.yaml")}


def test_help_names_every_launcher(help_page: Outcome) -> None:
    assert "hydra/launcher= basic | joblib | submitit_local | submitit_slurm | ray " in help_page.text


def test_help_shows_each_setting_with_its_default_and_sentence(help_page: Outcome) -> None:
    lines = help_page.text.splitlines()
    place = lines.index("  trainer.batch_size = 32    (at least 1)")
    assert lines[place + 1].strip() == "Examples per optimiser step over all devices (MACC, second-hand: 32)."
    assert any(line.startswith("  trainer.lora.rank = ") for line in lines)
    assert any(line.startswith("  compressor.model.path = ") for line in lines)


def test_help_of_a_slot_is_that_slot_alone_with_choices_and_limits() -> None:
    page = help_page_text(["trainer"])
    assert page.startswith("trainer= ddp | deepspeed | fsdp | single\n[trainer] ")
    assert "  trainer.tuning = 'full'    (lora, full)\n      Train adapters or every weight." in page
    assert "  trainer.learning_rate = 0.001    (above 0, at most 1)\n" in page
    assert {line.split(".")[0] for line in page.splitlines() if line.startswith("  ") and line[2] != " "} == {"  trainer"}
    assert "  compression.ratio = 0.5" in help_page_text(["compression=truncate", "compression"])
    assert "macc/rounds" in help_page_text(["sweep"])
    assert "  seed = 0    (at least 0" not in help_page_text(["sweep"])
    with pytest.raises(ConfigError, match=r"--help takes SLOT=OPTION, or a slot: run, task, .*; got 'trainr' \(did you mean 'trainer'\?\)"):
        help_page_text(["trainr"])


@pytest.mark.slow
def test_help_follows_the_chosen_options(tmp_path: Path) -> None:
    page = start("--help", "model=hf", "compression=truncate", folder=tmp_path).text
    assert "  model.path = (must be given)" in page
    assert "  compression.ratio = 0.5" in page
    assert "compression.max_rounds" not in page


@pytest.mark.slow
def test_the_composed_settings_are_printed_without_heavy_imports(tmp_path: Path) -> None:
    outcome = start("--cfg", "job", "seed=7", folder=tmp_path)
    assert outcome.heavy == set()
    composed = yaml.safe_load(outcome.text)
    assert composed["seed"] == 7
    assert composed["compression"]["name"] == "macc"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_settings_are_printed_as_hydra_prints_them(tmp_path: Path) -> None:
    words = ["--cfg", "job", "experiment=macc/gsm8k", "task=gsm8k", "name=1.10", "trainer.lora.rank=4", "evaluation.tasks=[svamp]"]
    assert start(*words, folder=tmp_path).text == start(*words, "hydra.verbose=false", folder=tmp_path).text


@pytest.mark.parametrize("words", [["--cfg", "job"], ["plan=true"]])
def test_a_command_of_one_run_is_composed_once(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    composed, compose = [], Hydra.compose_config
    monkeypatch.setattr(Hydra, "compose_config", lambda *given, **named: composed.append(named) or compose(*given, **named))
    monkeypatch.setattr(logging.config, "dictConfig", lambda config: None)
    monkeypatch.setattr(sys, "argv", ["run.py", *words, "compression=none", "tracking=none", "seed=87654"])
    runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
    assert len(composed) <= 1, "none, where a test composed the same options before"


def plan_arguments(model: Path, outputs: Path) -> list[str]:
    return ["plan=true", "model=hf", f"model.path={model}", "compressor=self", f"paths.outputs={outputs}", "tracking=none", "task.num_train=30"]


@pytest.mark.slow
def test_a_plan_imports_nothing_heavy_and_names_each_stage(random_model: Path, tmp_path: Path) -> None:
    outcome = start(*plan_arguments(random_model, tmp_path / "outputs"), folder=tmp_path)
    assert outcome.heavy == set()
    for stage in (
        *("rationales/stories", "grades/rationales/stories", "rounds/stories", "checkpoint", "latency/compress"),
        *(f"{stage}/{mode}/stories" for stage in ("predictions", "grades") for mode in ("base", "full", "compress")),
    ):
        assert stage in outcome.text
    rows = next(line for line in outcome.text.splitlines() if "rationales/stories" in line)
    assert "94" in rows, "30 training and 64 validation questions, one rationale each"


@pytest.mark.slow
def test_a_plan_over_files_of_questions_imports_nothing_heavy(random_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data" / "svamp"
    data.mkdir(parents=True)
    for split, first in (("train", 0), ("test", 100)):
        rows = [{"Body": f"Ann has {n} apples", "Question": "How many?", "Answer": n} for n in range(first, first + 20)]
        (data / f"{split}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    (tmp_path / "own.jsonl").write_text("".join(json.dumps({"question": f"Simplify {n}/{n}x.", "answer": f"1/{n}x"}) + "\n" for n in range(1, 21)))
    several = [
        "task=custom",
        f"task.file={tmp_path / 'own.jsonl'}",
        "task.answer_type=latex",
        "task.num_test=4",
        "task.train=[custom,svamp]",
        "task.num_validation=2",
    ]
    arguments = plan_arguments(random_model, tmp_path / "outputs")
    outcome = start(*arguments, *several, f"paths.data={tmp_path / 'data'}", "evaluation.tasks=[svamp]", folder=tmp_path)
    assert outcome.heavy == set()
    assert "grades/rationales/custom" in outcome.text
    assert "predictions/base/svamp" in outcome.text
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_plan_creates_no_file_and_no_folder(random_model: Path, tmp_path: Path) -> None:
    start(*plan_arguments(random_model, tmp_path / "outputs"), folder=tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("compression=m", {"compression=macc"}),
        ("trainer.learn", {"trainer.learning_rate="}),
        ("experiment=t", {"experiment=tiny"}),
    ],
)
def test_tab_completion_offers_options_and_settings_without_heavy_imports(typed: str, offered: set[str], tmp_path: Path) -> None:
    line = f"python run.py {typed}"
    outcome = start("-sc", "query=bash", folder=tmp_path, COMP_LINE=line, COMP_POINT=str(len(line)))
    assert outcome.heavy == set()
    assert offered <= set(outcome.text.split())
    assert all(each.startswith(typed) for each in outcome.text.split())
    assert list(tmp_path.iterdir()) == []
