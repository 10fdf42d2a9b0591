"""A command line's flags: those of Hydra that apply here, in any order; the others are one line."""

from __future__ import annotations

import pytest

from cotexp.config import command_line, overrides
from cotexp.settings.base import ConfigError
from cotexp.teachers.reference import ReferenceTeacher


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-m seed=0,1 --cfg job", "cotexp run takes only one of -m and --cfg"),
        ("--run --info all", "cotexp run takes only one of --run and --info"),
        ("--resolve seed=1", "--resolve belongs to --cfg, whose settings it resolves; add --cfg job"),
        ("--cfg nope", "cotexp run: argument --cfg/-c: invalid choice: 'nope'"),
        ("--config-dir", "cotexp run: argument --config-dir/-cd: expected one argument"),
        ("--config-name mine", "--config-name does not go with the settings files of cotexp; add your own by --config-dir DIR"),
        ("--config-path mine", "--config-path does not go with"),
        ("--experimental-rerun old.pickle", "--experimental-rerun does not go with"),
        ("seed=1 --api-key=sk-secret plan=true", "cotexp run has no option --api-key;"),
    ],
)
def test_flags_that_cannot_be_used_are_one_line(line: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        command_line.read_command(line.split())
    (problem,) = caught.value.problems
    assert problem.startswith(expected)
    assert "\n" not in problem
    assert "sk-secret" not in problem


def test_flags_and_settings_come_in_any_order() -> None:
    for line in ("-m seed=0,1 plan=true", "seed=0,1 -m plan=true", "seed=0,1 plan=true --multirun"):
        command = command_line.read_command(line.split())
        assert (command.multirun, command.overrides, command.words_for_hydra[1:]) == (True, ["seed=0,1", "plan=true"], ["seed=0,1", "plan=true"])
    command = command_line.read_command(["seed=1", "--cfg", "job", "plan=true"])
    assert (command.shows_settings, command.overrides) == (True, ["seed=1", "plan=true"])


def test_a_word_that_is_neither_flag_nor_setting_is_left_to_the_check_of_settings() -> None:
    assert command_line.read_command(["typo", "--cfg", "job", "seed=1"]).overrides == ["typo", "seed=1"]


def test_texts_are_quoted_for_hydra() -> None:
    assert command_line.read_command(["name=1_0", "-m", "seed=0,1"]).words_for_hydra == ["-m", "name='1_0'", "seed=0,1"]


def test_what_an_experiment_sets_for_its_own_teacher_is_left_out_and_said_if_another_one_has_no_such_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "compose", overrides.compose)  # says it each time
    words = ["experiment=morsd/weak_teacher", "teacher=reference", "selection.k=1", "plan=true"]
    for _ in range(2):
        [one] = command_line.check_command_line(words, multirun=False)
        assert one.teacher == ReferenceTeacher()
        assert type(one.teacher) is ReferenceTeacher
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith("cotexp: experiment=morsd/weak_teacher sets teacher.max_new_tokens, teacher.num_samples, teacher.temperature")
        assert said.endswith(" for its own teacher, and teacher=reference has no such setting: left out")
    for wrong in ("teacher.num_samples=2", "teacher.temperatur=1"):
        with pytest.raises(ConfigError, match=f"^{wrong.partition('=')[0]} is not a setting"):
            command_line.check_command_line([*words, wrong], multirun=False)
