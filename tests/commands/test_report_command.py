"""`cotexp report`: arms out of runs, their table and figure, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from run_folders import MORSD, RANDOM, write_run

from cotexp.commands.cli import main
from cotexp.commands.report import formats_of, report_experiments
from cotexp.report.arm_figure import side_by_side
from cotexp.report.arms import arms_of, labels, usual_baselines
from cotexp.report.build import ReportOptions
from cotexp.report.finished_runs import Run, find_runs, identity_of
from cotexp.report.side_labels import apart
from cotexp.settings.base import ConfigError


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two arms with two seeds each on 40 questions: random 20 and 24 right, MoRSD 30 and 34; the base 10. A third folder is unfinished."""
    write_run(tmp_path, "a0", "1" * 20 + "0" * 20, base="1" * 10 + "0" * 30, num_kept=90)
    write_run(tmp_path, "a1", "1" * 24 + "0" * 16, seed=1, num_kept=110)
    write_run(tmp_path, "b0", "1" * 30 + "0" * 10, selection=MORSD)
    write_run(tmp_path, "b1", "1" * 34 + "0" * 6, seed=1, selection=MORSD)
    started = tmp_path / "runs" / "exp" / "c0"
    started.mkdir()
    (started / "settings.json").write_text("{}")
    return tmp_path


def report(
    outputs: Path, *names: str, baseline: str | None = None, mode: str | None = None, folder: Path | None = None, columns: tuple[str, ...] = ()
) -> dict[str, dict[str, str]]:
    """The cells of the first written table, by the row's label and the column's heading."""
    report_experiments(names or ("exp",), outputs=outputs, options=ReportOptions(baseline=baseline, mode=mode, columns=columns), folder=folder)
    text = next(iter(sorted(outputs.rglob("report.md"), key=lambda path: -path.stat().st_mtime_ns))).read_text()
    table = re.search(r"^\| arm \|.*?\n(?=\n)", text, re.DOTALL | re.MULTILINE)
    assert table
    headings, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[0].splitlines() if line.startswith("| ")]
    return {row[0].replace("\\", ""): dict(zip(headings, row, strict=True)) for row in rows}


ACCURACY = "accuracy, % (95 % interval)"
DIFFERENCE = "difference (95 % interval)"


@pytest.mark.slow
def test_runs_that_differ_in_their_seed_are_one_arm_with_mean_deviation_and_paired_difference(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = report(outputs)
    base, morsd, random = rows.values()
    assert list(rows) == ["base (not fine-tuned)", "selection=morsd", "selection=random"]
    assert (morsd["seeds"], morsd["training rationales"], morsd["rationale tokens"]) == ("0, 1", "100", "6,000")
    assert morsd[ACCURACY].startswith("**80.0 (")
    assert morsd["sd over seeds"] == "7.1", "of 75 and 85 %: 10 / sqrt(2)"
    assert morsd["answer tokens"] == "20.0"
    assert morsd[DIFFERENCE].startswith("+25.0 ("), "55 % of random's answers are right, 80 % of MoRSD's"
    assert "≈" not in morsd[DIFFERENCE]
    assert random["training rationales"] == "100", "the mean of 90 and 110"
    assert random[ACCURACY].startswith("55.0 ("), "told apart from the best, so not bold"
    assert (random[DIFFERENCE], random["p"]) == ("baseline", "")
    assert (base["seeds"], base["training rationales"]) == ("", "")
    assert base[DIFFERENCE].startswith("-30.0 (")
    text = capsys.readouterr().out
    assert "Left out: exp/c0: not finished" in text
    assert "a bootstrap that draws seeds and questions anew" in text
    assert "One seed" not in text
    assert "corrected for the number of comparisons with the baseline in this table (2 in all)" in text
    assert float(morsd["p (Holm)"]) == pytest.approx(2 * float(morsd["p"]), abs=1e-4), "the smaller of two"
    assert base["p (Holm)"] == base["p"], "the larger of two"
    assert (outputs / "reports" / "exp" / "figures" / "accuracy_against_rationales.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_only_fine_tuned_arms_are_bold_and_columns_may_be_chosen(tmp_path: Path) -> None:
    """The model before fine-tuning answers everything right."""
    write_run(tmp_path, "a", "1" * 10 + "0" * 30, base="1" * 40)
    write_run(tmp_path, "b", "1" * 35 + "0" * 5, selection=MORSD)
    base, morsd, random = report(tmp_path, columns=("tokens", "accuracy", "selection/num_kept")).values()
    assert list(morsd) == ["arm", "answer tokens", ACCURACY, "selection: num kept"]
    assert base[ACCURACY].startswith("100.0 (")
    assert morsd[ACCURACY].startswith("**87.5 (")
    assert random[ACCURACY].startswith("25.0 (")
    assert morsd["selection: num kept"] == "100"


def test_a_column_that_does_not_exist_and_an_unknown_style_are_refused(outputs: Path) -> None:
    for columns, message in (
        ("accuracie", r"report: --columns must be one of seeds, .*; got 'accuracie' \(did you mean 'accuracy'\?\)"),
        ("selection/num_kep", r"report: --columns: no run has 'selection/num_kep' in its metrics.json \(did you mean 'selection/num_kept'\?\)"),
        ("accuracy:gsm8k", "report: --columns: no run answers this task; tasks: svamp; got 'accuracy:gsm8k'"),
    ):
        with pytest.raises(ConfigError, match=message):
            report_experiments(["exp"], outputs=outputs, options=ReportOptions(columns=(columns,)))
    with pytest.raises(ConfigError, match="report: --paper must be one of acl, icml, neurips, iclr; got 'aclr'"):
        report_experiments(["exp"], outputs=outputs, paper="aclr")


@pytest.mark.slow
def test_the_same_report_twice_is_the_same_bytes(outputs: Path) -> None:
    first, second = (outputs / each for each in ("first", "second"))
    for folder in (first, second):
        report_experiments(["exp"], outputs=outputs, formats=formats_of("all"), folder=folder)
    names = sorted(str(path.relative_to(first)) for path in first.rglob("*") if path.is_file())
    figures = {f"figures/accuracy_against_rationales{ending}" for ending in (".svg", ".png", "_column.pdf", "_text.pdf")}
    assert {"report.md", "report.csv", "tables/1.tex", *figures} <= set(names)
    assert {each: (first / each).read_bytes() for each in names} == {each: (second / each).read_bytes() for each in names}


@pytest.mark.slow
def test_one_seed_is_compared_by_mcnemar_and_has_wilsons_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two against eight discordant pairs of 40: p = 2 * 56 / 1024; Wilson's interval of 32 of 40 is 65.2 to 89.5 %."""
    write_run(tmp_path, "a", "11" + "0" * 8 + "1" * 30)
    write_run(tmp_path, "b", "00" + "1" * 8 + "1" * 30, selection=MORSD)
    morsd, random = report(tmp_path).values()
    assert not {"sd over seeds", "p (Holm)"} & morsd.keys(), "no second seed, and one comparison"
    assert "One seed: every arm. Without a second one" in capsys.readouterr().out
    assert random[ACCURACY] == "80.0 (65.2 to 89.5)", "not told apart from the best, which then is not bold either"
    assert morsd[DIFFERENCE].startswith("+15.0 (")
    assert morsd[DIFFERENCE].endswith(" ≈")
    assert morsd["p"] == "0.1094"


@pytest.mark.slow
def test_an_arm_with_one_seed_among_arms_with_several_says_so(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(outputs, "k3", "1" * 32 + "0" * 8, selection={**MORSD, "k": 3})
    rows = report(outputs)
    assert rows["selection=morsd, selection.k=3"]["sd over seeds"] == "n = 1"
    assert rows["selection=random"]["sd over seeds"] == "7.1"
    assert "One seed: selection=morsd, selection.k=3. Without a second one" in capsys.readouterr().out


@pytest.mark.slow
def test_seeds_that_differ_widen_the_interval(tmp_path: Path) -> None:
    """The seeds of the first arm answer 20 and 36 of 40; those of the second 28 each, so both have 70 %."""
    for seed, (first, second) in enumerate(((20, 28), (36, 28))):
        write_run(tmp_path, f"a{seed}", "1" * first + "0" * (40 - first), seed=seed)
        write_run(tmp_path, f"b{seed}", "1" * second + "0" * (40 - second), seed=seed, selection=MORSD)
    steady, moving = (re.findall(r"[\d.]+", row[ACCURACY]) for row in report(tmp_path).values())
    assert steady[0] == moving[0] == "70.0"
    assert float(moving[2]) - float(moving[1]) > 2 * (float(steady[2]) - float(steady[1])), "two seeds 40 points apart"


@pytest.mark.slow
def test_a_difference_that_only_the_plain_p_tells_from_chance_is_within_noise(tmp_path: Path) -> None:
    """Six questions won and none lost: p = 2 / 2^6 = 0.0312, and 0.0625 beside another arm with the same p."""
    for k, right in ((1, 24), (2, 30), (3, 30)):
        write_run(tmp_path, f"k{k}", "1" * right + "0" * (40 - right), selection={**MORSD, "k": k})
    rows = report(tmp_path, baseline="selection.k=1")
    assert [rows[f"selection.k={k}"]["p"] for k in (2, 3)] == ["0.0312", "0.0312"]
    assert [rows[f"selection.k={k}"]["p (Holm)"] for k in (2, 3)] == ["0.0625", "0.0625"]
    assert all(rows[f"selection.k={k}"][DIFFERENCE].endswith(" ≈") for k in (2, 3))


@pytest.mark.slow
def test_the_baseline_can_be_chosen_by_its_label(outputs: Path) -> None:
    *_, morsd, random = report(outputs, baseline="selection=morsd").values()
    assert morsd[DIFFERENCE] == "baseline"
    assert random[DIFFERENCE].startswith("-25.0 (")


@pytest.mark.slow
def test_every_arm_can_be_measured_against_the_model_that_it_was_made_of(outputs: Path) -> None:
    write_run(outputs, "own", "1" * 40, name="own", base="1" * 20 + "0" * 20)
    base, own = report(outputs, "own", baseline="base").values()
    assert base[DIFFERENCE] == "baseline"
    assert own[DIFFERENCE].startswith("+50.0 (")


@pytest.mark.slow
def test_several_tasks_have_a_column_each_and_the_difference_is_over_all_questions(tmp_path: Path) -> None:
    write_run(tmp_path, "a", {"svamp": "1100", "addsub": "10"})
    write_run(tmp_path, "b", {"svamp": "1111", "addsub": "00"}, selection=MORSD)
    morsd, random = report(tmp_path).values()
    assert (morsd["svamp, %"], morsd["addsub, %"]) == ("100.0", "0.0")
    assert (random["svamp, %"], random["addsub, %"]) == ("50.0", "50.0")
    assert morsd[ACCURACY].startswith("66.7 (")
    assert morsd[DIFFERENCE].startswith("+16.7 (")


@pytest.mark.slow
def test_only_common_seeds_are_paired_and_the_notes_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "a0", "1000")
    write_run(tmp_path, "a1", "1111", seed=1)
    write_run(tmp_path, "b1", "1100", seed=1, selection=MORSD)
    morsd, _ = report(tmp_path).values()
    assert morsd[DIFFERENCE].startswith("-50.0 ("), "against seed 1 alone"
    assert "selection=morsd: its seeds differ from the baseline's; compared only on seeds 1." in capsys.readouterr().out


@pytest.mark.slow
def test_questions_with_another_gold_answer_take_no_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "a", "1000")
    write_run(tmp_path, "b", "1100", selection=MORSD, gold="8")
    morsd, _ = report(tmp_path).values()
    assert morsd[DIFFERENCE] == "no common question"
    assert "selection=morsd: 4 questions are not in both arms" in capsys.readouterr().out


def test_the_mode_base_can_be_reported_alone(outputs: Path) -> None:
    """Only the first run answered in it; the others are named."""
    rows = report(outputs, mode="base")
    assert list(rows) == ["exp"]
    assert rows["exp"][ACCURACY].startswith("25.0 (")


@pytest.mark.slow
def test_several_experiments_are_one_table_in_a_folder_of_both_names(outputs: Path) -> None:
    write_run(outputs, "d0", "1" * 40, name="other/one", selection=MORSD, trainer={"name": "single", "learning_rate": 2e-4})
    rows = report(outputs, "exp", "other/one")
    assert list(rows)[1:] == [
        "selection=morsd, trainer.learning_rate=0.0001",
        "selection=morsd, trainer.learning_rate=0.0002",
        "selection=random, trainer.learning_rate=0.0001",
    ]
    assert (outputs / "reports" / "exp+other-one" / "report.md").is_file()


@pytest.mark.slow
def test_the_table_can_be_written_elsewhere(outputs: Path, tmp_path: Path) -> None:
    report(outputs, folder=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "report.md").is_file()


# --- labels --------------------------------------------------------------------------------------------------------------


def run_with(mode: str = "full", names: dict[str, str] | None = None, **identity: str) -> Run:
    flat = {path.replace("__", "."): value for path, value in identity.items()}
    empty: dict[str, Any] = {"settings": {}, "folder": Path(), "metrics": {}, "answers": [], "base_answers": [], "base_keys": (), "weights": {}}
    return Run(name="exp", key="k", seed=0, mode=mode, identity=flat, names=names or {}, finished=0.0, **empty)


def test_a_label_names_the_section_and_what_differs_under_one_name() -> None:
    runs = [
        run_with(names={"selection": "morsd"}, selection__k="1", selection__order="lowest_rd"),
        run_with(names={"selection": "morsd"}, selection__k="3", selection__order="lowest_rd"),
        run_with(names={"selection": "random"}, selection__k="1", selection__order="random"),
    ]
    assert labels(runs) == ["selection=morsd, selection.k=1", "selection=morsd, selection.k=3", "selection=random"]
    assert labels(runs[:2]) == ["selection.k=1", "selection.k=3"], "a name that all share says nothing"
    assert labels(runs[:1]) == ["exp"], "nothing differs"


def test_what_follows_from_other_settings_is_in_a_label_only_where_it_is_needed() -> None:
    short, full, other = (
        run_with(names={"compression": name}, compression__name=name, mixture__full_ratio=ratio)
        for name, ratio in (("macc", "0.5"), ("none", "1.0"), ("macc", "0.7"))
    )
    assert labels([short, full]) == ["compression=macc", "compression=none"]
    runs = [short, other]
    assert labels(runs) == ["mixture.full_ratio=0.5", "mixture.full_ratio=0.7"]


def test_modes_are_in_the_labels_where_they_differ() -> None:
    assert labels([run_with(mode="full"), run_with(mode="compress")]) == ["mode=full", "mode=compress"]


def test_an_arm_is_made_by_keyed_settings_and_by_the_files_that_they_name() -> None:
    section = {"name": "hf", "path": "some/model", "device": "cpu", "dtype": "float32"}
    found = identity_of({"name": "x", "seed": 3, "model": section, "teacher": {"files": ["a", "b"], "batch_size": 4, "model": section}}, "compress")
    assert found == {
        "model.path": "some/model",
        "model.dtype": "float32",
        "teacher.files": "[a,b]",
        "teacher.model.path": "some/model",
        "teacher.model.dtype": "float32",
    }


def test_what_is_measured_besides_makes_no_arm() -> None:
    one, other = (
        {"evaluation": {"modes": modes, "latency": latency, "temperature": 0.0}} for modes, latency in ((["full"], True), (["base"], False))
    )
    assert identity_of(one, "full") == identity_of(other, "full") == {"evaluation.temperature": "0.0"}


def test_answers_before_fine_tuning_depend_on_no_setting_of_training_and_on_a_cut_only_where_they_are_cut() -> None:
    stored = {"compression": {"name": "macc"}, "trainer": {"rank": 8}, "evaluation": {"truncate_ratio": 0.5}, "model": {"dtype": "float32"}}
    assert identity_of(stored, "base") == {"model.dtype": "float32"}
    assert identity_of(stored, "truncate") == {"model.dtype": "float32", "evaluation.truncate_ratio": "0.5"}
    assert identity_of(stored, "full") == {"model.dtype": "float32", "compression.name": "macc", "trainer.rank": "8"}
    told = identity_of({**stored, "compression": {"name": "prompt_only", "instruction": "Be brief."}}, "compress")
    assert told == {"model.dtype": "float32", "compression.name": "prompt_only", "compression.instruction": "Be brief."}


def test_sections_that_nothing_reads_make_no_arm_and_are_in_no_label() -> None:
    stored = {"compression": {"name": "none"}, "scoring": {"dtype": "float32"}, "compressor": {"temperature": 0.7}}
    random = identity_of({**stored, "selection": {"name": "random", "order": "random"}}, "compress")
    by_difficulty = identity_of({**stored, "selection": {"name": "morsd", "order": "lowest_rd"}}, "compress")
    assert random == {"compression.name": "none", "selection.order": "random"}
    assert by_difficulty["scoring.dtype"] == "float32"
    flats = ((random, "random"), (by_difficulty, "morsd"), ({**by_difficulty, "scoring.dtype": "bfloat16"}, "morsd"))
    runs = [run_with(names={"selection": name}, **{path.replace(".", "__"): value for path, value in flat.items()}) for flat, name in flats]
    assert labels(runs[:2]) == ["selection=random", "selection=morsd"]
    assert labels(runs) == ["selection=random", "selection=morsd, scoring.dtype=float32", "selection=morsd, scoring.dtype=bfloat16"]


def test_scoring_is_read_by_orders_that_score_and_by_answers_as_training_examples() -> None:
    stored = {"scoring": {"connector": "So "}, "selection": {"order": "random"}}
    for name, is_read in (("none", False), ("macc", False), ("answer_only", True), ("step_by_step", True)):
        assert ("scoring.connector" in identity_of({**stored, "compression": {"name": name}}, "compress")) == is_read
    ranked = {**stored, "selection": {"order": "lowest_rank_surprisal"}, "compression": {"name": "none"}}
    assert "scoring.connector" in identity_of(ranked, "full")


def test_arms_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for k in (10, 2, 1):
        write_run(tmp_path, f"k{k}", "10", selection={**RANDOM, "k": k})
    arms, _ = arms_of(find_runs(["exp"], tmp_path, mode=None).runs)
    assert [each.label for each in arms] == ["selection.k=1", "selection.k=2", "selection.k=10"]


def test_of_two_runs_with_the_same_settings_and_seed_the_newer_counts_and_the_other_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, "new", "11", finished=20.0)
    write_run(tmp_path, "old", "00", finished=10.0)
    arms, replaced = arms_of(find_runs(["exp"], tmp_path, mode=None).runs)
    assert [each.key for arm in arms for each in arm.runs] == ["new"]
    assert replaced == ["exp/old: exp/new has the same settings and seed, and is newer"]


# --- mistakes ------------------------------------------------------------------------------------------------------------


def test_an_unknown_experiment_is_refused_with_the_names_there_are(outputs: Path) -> None:
    with pytest.raises(ConfigError, match=r"no experiment 'expp' under .*\(did you mean 'exp'\?\); experiments .*: exp\ndeclared reports: "):
        report(outputs, "expp")


def test_an_experiment_with_unfinished_runs_alone_is_refused(outputs: Path) -> None:
    (outputs / "runs" / "begun" / "x").mkdir(parents=True)
    (outputs / "runs" / "begun" / "x" / "settings.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"begun has no finished run under .*, only unfinished ones \(x\); experiments with finished runs: exp$"):
        report(outputs, "begun")


def test_an_unknown_baseline_and_one_that_fits_several_arms_are_refused(outputs: Path) -> None:
    with pytest.raises(ConfigError, match=r"'selection=rando' is not an arm \(did you mean 'selection=random'\?\); arms: selection=morsd; "):
        report(outputs, baseline="selection=rando")
    write_run(outputs, "k3", "1" * 40, selection={**MORSD, "k": 3})
    with pytest.raises(ConfigError, match=r"'selection=morsd' fits 2 arms, name more of its settings; arms:"):
        report(outputs, baseline="selection=morsd")


def test_a_mode_that_no_run_answered_in_is_refused(outputs: Path) -> None:
    with pytest.raises(ConfigError, match="left out: exp/a1, exp/b0, exp/b1: no answers in mode 'compress', only in full"):
        report(outputs, mode="compress")


@pytest.mark.slow
def test_runs_of_an_earlier_version_are_named(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = write_run(outputs, "old", "1" * 40)
    (old / "questions.json").unlink()
    report(outputs)
    assert "Left out: exp/old: made by an earlier version of this project; run it again" in capsys.readouterr().out


def test_a_mistake_is_one_line_on_the_command_line(outputs: Path) -> None:
    with pytest.raises(SystemExit, match=r"^cotexp: report: no experiment 'nothing' under"):
        main(["report", "nothing", "--outputs", str(outputs)])


def test_the_first_arm_is_the_baseline_where_none_is_random_over_all(tmp_path: Path) -> None:
    write_run(tmp_path, "a", "10", selection=MORSD)
    write_run(tmp_path, "b", "10", selection={**RANDOM, "name": "random_correct", "accuracy": True})
    arms, _ = arms_of(find_runs(["exp"], tmp_path, mode=None).runs)
    assert usual_baselines(arms) == ["selection=morsd"]


@pytest.mark.slow
def test_many_folders_left_out_for_one_reason_are_one_line(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(6):
        (write_run(outputs, f"z{number}", "1") / "questions.json").unlink()
    report(outputs)
    assert "Left out: exp/z0, exp/z1, exp/z2, exp/z3, exp/z4 and 1 more: made by an earlier version" in capsys.readouterr().out


def test_runs_may_be_chosen_by_patterns_whatever_their_experiment(outputs: Path) -> None:
    write_run(outputs, "d0", "1" * 40, name="other/one", selection=MORSD)
    report_experiments(["mine"], outputs=outputs, options=ReportOptions(only=("exp/b*", "b0", "other/one")), folder=outputs / "mine")
    text = (outputs / "mine" / "report.md").read_text()
    assert text.startswith("# mine\n")
    assert "exp/b0: other/one/d0 has the same settings and seed, and is newer" in text or "other/one/d0: exp/b0 has" in text
    with pytest.raises(ConfigError, match=r"no run that fits 'z\*' under"):
        report_experiments(["mine"], outputs=outputs, options=ReportOptions(only=("z*",)))


def test_an_unknown_name_is_told_the_declared_reports_as_well(outputs: Path) -> None:
    with pytest.raises(ConfigError, match=r"declared reports: macc/arithmetic, macc/baselines, .*\(did you mean 'macc/baselines'\?\)"):
        report(outputs, "macc/baseline")


@pytest.mark.slow
def test_a_report_needs_no_model_and_no_network(outputs: Path) -> None:
    script = f"""
import socket, sys
def refuse(*arguments): raise AssertionError("a report opened a connection")
socket.socket.connect = refuse
from cotexp.commands.cli import main
main(["report", "exp", "--outputs", {str(outputs)!r}, "--format", "all"])
print([name for name in ("torch", "transformers", "peft", "pytorch_lightning", "wandb", "datasets", "openai") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ, "MPLBACKEND": "Agg"})
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_the_baseline_is_by_default_what_all_runs_declare(outputs: Path) -> None:
    for key, marks, selection in (("x", "1100", MORSD), ("y", "1111", RANDOM)):
        write_run(outputs, key, marks, name="own", selection=selection, baseline="selection=morsd")
    rows = report(outputs, "own")
    assert rows["selection=morsd"][DIFFERENCE] == "baseline"
    write_run(outputs, "z", "1111", name="own", selection={**MORSD, "k": 3}, baseline="selection=nothing")
    assert report(outputs, "own")["selection=random"][DIFFERENCE] == "baseline", "they disagree"


# --- the figure ----------------------------------------------------------------------------------------------------------


def test_points_with_nearly_the_same_number_stand_side_by_side() -> None:
    assert side_by_side([0.0, 100.0]) == [0.0, 100.0]
    assert side_by_side([0.0, 100.0, 100.0]) == [0.0, 97.5, 102.5]
    assert side_by_side([100.0]) == [100.0]
    assert len(set(side_by_side([50.0, 50.0, 50.0]))) == 3


def test_labels_stand_apart_and_within_the_axes() -> None:
    assert apart([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert apart([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    assert apart([0.95, 1.0, 1.0], 0.1) == pytest.approx([0.8, 0.9, 1.0])
    assert apart([0.5] * 5, 0.5) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


@pytest.mark.slow
def test_long_labels_leave_room_for_the_figure(tmp_path: Path) -> None:
    """Warnings, such as of axes that collapsed, are errors."""
    for number in range(3):
        settings = {"trainer": {"name": "single", **{f"some_long_setting_{index}": number for index in range(6)}}}
        write_run(tmp_path, f"r{number}", "1100", **settings)
    assert len(report(tmp_path)) == 3


@pytest.mark.slow
def test_a_report_is_written_whole_also_if_nobody_reads_what_is_printed(outputs: Path) -> None:
    reader_gone, writer = os.pipe()
    os.close(reader_gone)
    words = [sys.executable, "-m", "cotexp", "report", "exp", "--format", "all", "--outputs", str(outputs)]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert {"report.md", "report.csv", "report.tex", "report.html"} <= {path.name for path in (outputs / "reports/exp").iterdir()}
