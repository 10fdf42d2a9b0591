"""What models, files and servers wrote is read and not obeyed, in every output of one finished run."""

from __future__ import annotations

import csv
import io
import json
import logging.config
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import run_folders
import written_runs
from hydra import initialize_config_dir
from omegaconf import OmegaConf
from rich.text import Text

from cotexp.commands.cli import main
from cotexp.commands.report import report_experiments
from cotexp.config import overrides, schema, search_path
from cotexp.jobs import pipeline
from cotexp.progress import page
from cotexp.report import compression_examples, latex, long_csv, markdown, run_table, terminal, web_page
from cotexp.report.build import ReportOptions
from cotexp.report.document import Cell, Column, Gap, Report, Row, Table, UsedRun
from cotexp.report.style import Drawing, picture
from cotexp.tracking import tables as wandb_tables
from cotexp.visible import in_json, visible

TERMINAL = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m\x08\x7f\x00\r"
TURNED = "\u202etxt.exe\u202c \u2066a\u2069 \u200f\u061c \u2028 \u2029 \x85 \x0b \x0c \x1c \u200b\ufeff\U000e0041"
MARKUP = r"[red]rich[/red] [link=http://x]y[/link] :smile: | ` ``` * _ <b onclick='x'>&lt; \input{x} $\frac$ ${seed} {{ 7*7 }} </script><!-- %"
HOSTILE = f"{TERMINAL} {TURNED} {MARKUP} seven"
NAME = "\x1b[31m\u202ea$\\frac$|\x9b"
FORMULA = '=HYPERLINK("http://x")'
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def assert_clean(text: str) -> None:
    assert CONTROLS.findall(text) == []


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on a task with a hostile name whose settings, texts, question ids, answers and gold answers are hostile, and one that failed."""
    outputs = tmp_path_factory.mktemp("hostile")
    for number, source in enumerate((FORMULA, HOSTILE)):
        compression = {"name": "prompt_only", "instruction": source}
        folder = run_folders.write_run(outputs, f"k{number}", {NAME: "10", "b": "11"}, compression=compression, mode="compress")
        for ledger in (outputs / "store" / "predictions").rglob("*.jsonl"):
            rows = [{**json.loads(line), "text": HOSTILE, "gold": HOSTILE} for line in ledger.read_text().splitlines()]
            ledger.write_text("".join(json.dumps(each) + "\n" for each in rows))
        own = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "num_tokens": 3.0, "num_questions": 4.0}
        metrics = {f"eval/compress/{name}": value for name, value in own.items()}
        (folder / "metrics.json").write_text(json.dumps(metrics))
    failed = folder.parent / "k2"
    failed.mkdir()
    for name in ("settings.json", "questions.json"):
        (failed / name).write_text((folder / name).read_text())
    (failed / "status.json").write_text(json.dumps({"state": "failed", "error": HOSTILE, "overrides": [f"notes={HOSTILE}"], "stage": HOSTILE}))
    return outputs


def test_no_watch_obeys_what_stands_in_a_run(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["watch", "exp", "--once", "--outputs", str(hostile)])
    shown = capsys.readouterr().out
    assert_clean(shown)
    assert "owned" in shown


def test_no_output_of_a_report_obeys_what_stands_in_it(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_experiments(["exp"], outputs=hostile, options=ReportOptions(), formats=["md", "latex", "csv", "html"])
    shown = capsys.readouterr().out
    assert_clean(shown)
    assert "owned" in shown
    written = [path for path in (hostile / "reports").rglob("*") if path.is_file() and path.suffix not in (".png", ".pdf")]
    assert {path.suffix for path in written} >= {".md", ".tex", ".csv", ".html", ".svg"}
    for path in written:
        assert_clean(path.read_text(encoding="utf-8"))
    for path in (hostile / "reports").rglob("*.svg"):
        ET.fromstring(path.read_text(encoding="utf-8"))
    cells = list(csv.reader(io.StringIO((hostile / "reports" / "exp" / "report.csv").read_text(encoding="utf-8"))))
    assert any(each.startswith("'=HYPERLINK") or "=HYPERLINK" in each for row in cells for each in row)
    assert [each for row in cells for each in row if re.match(r"\s*[=@]|[+-](?![\d.])", each)] == []


def test_lists_and_comparisons_of_runs_spell_it_out(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cotexp.commands.cli import main

    for words in (["runs"], ["runs", "k2"], ["runs", "k0", "k1"], ["runs", "k1"], ["compare", "k0", "k1"]):
        main([*words, "--outputs", str(hostile)])
    shown = capsys.readouterr().out
    assert_clean(shown)
    assert r"\x1b]0;owned" in shown


def test_examples_of_rounds_answers_and_rationales_spell_it_out(tmp_path: Path) -> None:
    texts = {"a": [f"right {HOSTILE}", f"right {HOSTILE} 7", f"right {HOSTILE} 7 again"]}
    folder = written_runs.write_run(tmp_path, "k", chains=texts, answers={"full": {f"q{HOSTILE}": HOSTILE}}, rationales={"c": [HOSTILE]})
    text = compression_examples.markdown(compression_examples.pick(folder))
    assert_clean(text)
    assert r"\x1b]0;owned\x07" in text
    for shown in (wandb_tables.rounds(folder), wandb_tables.predictions(folder)):
        assert "owned" in str(shown)
        assert [each for row in shown for each in row if isinstance(each, str) and CONTROLS.search(each)] == []
    run = UsedRun(row=HOSTILE, name="exp", key="k", seed=0, folder=folder)
    html = web_page.html(Report(name="x", title=HOSTILE, tables=(), runs=(run,)))
    assert_clean(html)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    assert_clean(json.dumps(json.loads(found[1]), ensure_ascii=False))
    assert r"\\x1b]0;owned" in found[1]


def test_log_lines_on_the_terminal_and_in_the_file_of_a_run_spell_it_out(tmp_path: Path) -> None:
    """Hydra's logger prints what the engine says of a server's answer; log.txt holds the same."""
    schema.register()
    with initialize_config_dir(str(search_path.CONF), version_base="1.3"):
        logging_of_a_run = OmegaConf.to_container(overrides.compose([], full=True).hydra.job_logging)
    assert isinstance(logging_of_a_run, dict)
    formatter = logging.config.DictConfigurator(logging_of_a_run).configure_formatter(logging_of_a_run["formatters"]["simple"])
    record = logging.LogRecord("cotexp", logging.WARNING, "f.py", 1, "it said: %s", (HOSTILE,), None)
    with pipeline._log_file(tmp_path / "log.txt"):
        logging.getLogger("cotexp").handle(record)
    for line in (formatter.format(record), (tmp_path / "log.txt").read_text(encoding="utf-8")):
        assert_clean(line)
        assert r"it said: \x1b]0;owned" in line


def of(text: str) -> Report:
    """A report that has a text in every place."""
    cell = Cell(text=text, state=text)
    gap = Gap(row=text, seed=1, state="failed", reason=text, command=text)
    row = Row(label=text, kind="arm", cells=(cell,), source=text, gaps=(gap,))
    table = Table(name="1", title=text, columns=(Column(name=text, title=text),), rows=(row,), notes=(text,), row_title=text)
    return Report(name=text, title=text, tables=(table,), footnotes=(text,), left_out=(text,))


@pytest.mark.parametrize("text", [TERMINAL, TURNED, MARKUP, "\ud800 half", "a\tb\r\nc"], ids=["terminal", "turned", "markup", "half", "lines"])
def test_every_place_of_every_format_is_covered(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_report(of(text))
    tables = [latex.table_files(of(text), table) for table in of(text).tables]
    papers = [latex.document(of(text)), *(content for files in tables for content in files.values())]
    for shown in (markdown.markdown(of(text)), *papers, long_csv.long_csv(of(text)), long_csv.table_csv(of(text).tables[0])):
        assert_clean(shown)
        shown.encode()
    assert_clean(web_page.html(of(text)))
    assert_clean(capsys.readouterr().out)


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C'!A0", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "\x1b=1", "-x", "+ a"])
def test_no_cell_of_a_csv_file_begins_a_formula(text: str) -> None:
    for row in csv.reader(io.StringIO(long_csv.long_csv(of(text)))):
        assert [each for each in row if each.lstrip().startswith(long_csv.FORMULAS)] == []


@pytest.mark.parametrize("text", ["+1.0 (-2.0 to +3.0)", "-0.5", "80.0 (70.0 to 90.0)", "missing"])
def test_numbers_with_their_intervals_stay_as_they_are_in_a_csv_file(text: str) -> None:
    assert long_csv.harmless(text) == text


def test_a_command_is_shown_as_code_whatever_it_holds() -> None:
    assert markdown.code("a `b` | c") == r"``a `b` \| c``"
    assert markdown.code("`b`") == "`` `b` ``"
    assert markdown.code("") == ""


def test_markup_of_the_terminal_is_text_in_the_table_of_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    settings = {"compression": {"name": "prompt_only", "instruction": "[bold]Hurry[/bold] [/x] :smile: \x1b[31m"}, "evaluation": {}}
    own = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "num_tokens": 3.0, "num_questions": 2.0}
    run_table.show({f"eval/compress/{name}": value for name, value in own.items()}, "[red]title", settings)
    shown = capsys.readouterr().out
    assert_clean(shown)
    flat = re.sub(r"[│\s]+", " ", shown)
    assert "[bold]Hurry[/bold] [/x] :smile:" in flat
    assert "[red]title" in flat


def test_styles_stay_where_they_are_beside_what_is_spelled_out() -> None:
    console = page()
    console.file, console._force_terminal, console._color_system = io.StringIO(), True, None
    text = Text("a\x1bb", style="")
    text.append("c", style="bold")
    spelled = list(console.render(text))
    assert "".join(each.text for each in spelled) == "a\\x1bbc\n"
    assert [each.text for each in spelled if each.style and each.style.bold] == ["c"]


def test_names_in_figures_are_no_formulas() -> None:
    def draw(figure: object) -> None:
        axes = figure.subplots()  # type: ignore[attr-defined]
        axes.barh([0, 1], [1, 2], label=NAME)
        axes.set_yticks([0, 1], labels=[r"$\frac$", NAME])
        axes.set_xscale("log")
        axes.set_xlim(1e-6, 1e6)
        axes.set_title(r"$\nothing$")
        axes.legend()

    figure = picture(Drawing("f", "t", "d", draw))
    assert_clean(figure.svg.decode())
    ET.fromstring(figure.svg.decode())


def test_what_controls_is_spelled_out_and_letters_of_all_languages_stay() -> None:
    assert visible("a\x1b[0m\u202e\n\t\r\0\x9b\U000e0041\ud800") == r"a\x1b[0m\u202e\n\t\r\0\x9b\U000e0041\ud800"
    plain = "Zwölf 中文 עברית العربية नमस्ते ½ é e\u0301 👩\u200d👧 می\u200cخواهم"
    assert visible(plain) == plain


def test_json_keeps_its_content() -> None:
    content = {"text": HOSTILE + "\U000e0041"}
    line = json.dumps(content, ensure_ascii=False)
    assert_clean(in_json(line))
    assert json.loads(in_json(line)) == content
