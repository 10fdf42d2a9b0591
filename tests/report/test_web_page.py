"""The page of a report: its bytes, and how it behaves in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from written_runs import write_run

from cotexp.report.document import Cell, Column, Figure, Gap, Report, Row, Table, UsedRun
from cotexp.report.web_page import embedded, files, html
from cotexp.visible import visible_lines

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

HOSTILE = (
    "<script>window.x=1</script></script><!-- <script>window.x=2</script> <img src=x onerror='window.x=3'> "
    "\"'&amp; \u202eabc\u202c \u2028 {{ 7 * 7 }}"
)
LONG_LINE = "a" * 4000
COMMAND = "python run.py seed=3 'model.path=my \"model\"'"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update")


def report_of(folders: dict[Path, str]) -> Report:
    """Three rows with numbers, one of them without one, and a row whose run failed."""
    gap = Gap(row="gone", seed=3, state="failed", reason="no <b>space</b> left", command=COMMAND)
    columns = (Column(name="accuracy", title="accuracy, %"), Column(name="tokens", title="tokens"))
    rows = (
        Row(label="ten", kind="arm", cells=(Cell(text="9.5 (9 to 10)", value=9.5, bold=True), Cell(text="100", value=100.0))),
        Row(label="nine", kind="base", cells=(Cell(text="10.0 (9 to 11)", value=10.0, within_noise=True), Cell()), is_baseline=True),
        Row(label="gone", kind="arm", cells=(Cell(text="failed", state="failed"), Cell(text="failed", state="failed")), gaps=(gap,)),
        Row(label=HOSTILE, kind="published", cells=(Cell(text="-1.0", value=-1.0), Cell(text="20", value=20.0)), source="a paper, <i>table 2</i>"),
    )
    figure = Figure(
        name="f", title="A figure", description="what it shows", png=b"", svg=b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    )
    runs = tuple(UsedRun(row=label, name="exp", key="k", seed=0, folder=folder) for folder, label in folders.items())
    table = Table(name="t", title="A table", columns=columns, rows=rows, notes=("a note & <b>more</b>",))
    return Report(name="exp", title=f"exp {HOSTILE}", tables=(table,), figures=(figure,), footnotes=("a footnote",), runs=runs)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Two runs on one task, and two on another with 70 answers each, of which 60 are shown."""
    outputs = tmp_path_factory.mktemp("page")
    first = write_run(
        outputs,
        "k",
        chains={"a": ["first it is right and seven", "right and seven", "right and seven again"], "h": [HOSTILE, LONG_LINE, ""]},
        answers={"base": {"t": "right 7", "u": "8"}, "compress": {"t": HOSTILE, "u": "right 7"}},
    )
    second = write_run(outputs, "l", rationales={"c": ["right one", HOSTILE]}, kept={"c": [0]}, answers={"full": {"t": "right 7", "u": "right 7"}})
    dates = {f"d{number}": "right 7" for number in range(70)}
    others = [write_run(outputs, key, answers={"full": dates}, task="dates") for key in "mn"]
    return report_of({first: "arm one", second: "arm two", others[0]: "arm three", others[1]: "arm four"})


def test_the_page_is_one_file_and_the_same_report_gives_the_same_bytes(report: Report) -> None:
    assert list(files(report)) == ["report.html"]
    assert files(report) == files(report)


def test_nothing_that_a_model_wrote_is_markup(report: Report) -> None:
    text = html(report)
    assert len(re.findall(r"<script\b", text)) == text.count("</script>") == 2, "the data and the page's own"
    assert "<!-- " not in text
    assert "<img src=x" not in text
    assert "<b>" not in text


def test_what_is_embedded_comes_back_and_cannot_end_its_element() -> None:
    text = embedded({"text": HOSTILE})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"text": HOSTILE}


def test_a_report_without_runs_figures_or_gaps_has_a_table_alone() -> None:
    table = Table(name="t", title="t", columns=(Column(name="n", title="n"),), rows=(Row(label="a", kind="arm", cells=(Cell(text="1", value=1.0),)),))
    text = html(Report(name="r", title="r", tables=(table,)))
    assert "<table" in text
    assert not re.search('id="(examples|figures|filters)"', text)


def test_runs_of_the_same_name_are_told_apart_by_their_keys_and_a_run_of_two_tables_is_shown_once(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, key, answers={"full": {"t": "right 7"}}) for key in "kl"]
    rows = (("arm", 0), ("arm", 1), ("other", 0), ("alone", 0))
    runs = tuple(UsedRun(row=row, name="exp", key="kl"[number], seed=0, folder=folders[number]) for row, number in rows)
    table = Table(name="t", title="t", columns=(), rows=())
    data = json.loads(re.findall('id="data">(.*)</script>', html(Report(name="r", title="r", tables=(table,), runs=runs)))[0])
    assert data["runs"] == ["arm, seed 0 (k)", "arm, seed 0 (l)"]


# --- in a browser -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    pytest.importorskip("selenium", reason="selenium drives the browser: pip install 'cotexp[dev]'")
    browser, driver = (shutil.which(each) for each in ("chromium", "chromedriver"))
    if not (browser and driver):
        pytest.skip("no chromium with chromedriver (Debian: apt-get install chromium chromium-driver)")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = browser
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={profile}", "--window-size=1300,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = Chrome(options=options, service=ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture(scope="module")
def address(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("written") / "report.html"
    path.write_bytes(files(report)["report.html"])
    return path.as_uri()


@pytest.fixture
def page(chromium: Chrome, address: str) -> Iterator[Chrome]:
    """The page, opened anew; whatever a test did, the console is without a message and no text of a model has run."""
    chromium.get("about:blank")
    chromium.get(address)
    yield chromium
    assert chromium.get_log("browser") == []
    assert chromium.execute_script("return window.x") is None


def all_of(page: Chrome, selector: str) -> list[WebElement]:
    return page.find_elements("css selector", selector)


def one(page: Chrome, selector: str) -> WebElement:
    return page.find_element("css selector", selector)


def texts(page: Chrome, selector: str) -> list[str]:
    return [each.text for each in all_of(page, selector)]


def choose(page: Chrome, name: str, label: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(page.find_element("name", name)).select_by_visible_text(label)


@contextmanager
def emulated(page: Chrome, width: int) -> Iterator[None]:
    """The page on a screen of this width."""
    size: dict[str, Any] = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_opens_from_disk_with_title_figure_and_examples_and_logs_nothing(page: Chrome) -> None:
    assert page.title.startswith("exp <script>window.x=1</script>")
    assert page.execute_script("return document.querySelector('figure img').naturalWidth") == 9
    assert one(page, "#status").text == "2 of 2 examples"


def test_a_script_that_is_not_the_pages_own_would_not_run_either(page: Chrome) -> None:
    page.execute_script("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.x = 4'}))")
    assert page.execute_script("return window.x") is None
    assert ["Content Security Policy" in each["message"] for each in page.get_log("browser")] == [True]


def test_a_table_sorts_by_number_up_down_and_back_and_what_is_missing_stands_last(page: Chrome) -> None:
    hostile = " ".join(HOSTILE.split())[:8]

    def order() -> list[str]:
        return [each.split("\n")[0][:8] for each in texts(page, "tbody th")]

    accuracy, tokens, arm = (all_of(page, "thead button")[index] for index in (1, 2, 0))
    head = all_of(page, "thead th")
    before = order()
    assert before == ["ten", "nine", "gone", hostile]
    accuracy.click()
    assert order() == [hostile, "ten", "nine", "gone"], "9.5 before 10.0"
    assert [each.get_attribute("aria-sort") for each in head] == ["none", "ascending", "none"]
    accuracy.click()
    assert order() == ["nine", "ten", hostile, "gone"]
    assert head[1].get_attribute("aria-sort") == "descending"
    accuracy.click()
    assert order() == before
    tokens.click()
    assert order() == [hostile, "ten", "nine", "gone"]
    arm.click()
    assert order() == [hostile, "gone", "nine", "ten"]


def test_a_missing_cell_names_the_command_and_copies_it(page: Chrome) -> None:
    from selenium.webdriver import Keys

    cell = one(page, "td.gap")
    assert cell.text == f"seed 3: failed: no <b>space</b> left Copy {COMMAND}"
    button = cell.find_element("css selector", "button")
    button.click()
    search = page.find_element("name", "text")
    search.send_keys(Keys.CONTROL, "v")
    assert search.get_attribute("value") == COMMAND
    assert button.text == "Copied"


@pytest.mark.slow
def test_a_chain_shows_its_rounds_side_by_side_and_what_each_removed(page: Chrome) -> None:
    page.find_element("name", "text").send_keys("question A?")
    assert texts(page, ".item p") == ["Question a?"]
    assert one(page, ".question").text == "Question a?"
    assert [each.split("\n")[0] for each in texts(page, ".column h4")] == ["original right", "round 1 kept", "round 2"]
    assert texts(page, ".facts") == ["6 tokens · answer 7", "3 tokens · 50% of the original", "4 tokens · 67% of the original"]
    assert len({each.rect["y"] for each in all_of(page, ".column")}) == 1
    assert texts(page, ".column del") == ["first it is "]
    assert texts(page, ".column ins") == ["again"]
    one(page, ".bar input").click()
    assert texts(page, ".column .model") == ["first it is right and seven", "right and seven", "right and seven again"]


def test_hostile_and_empty_texts_are_shown_and_not_obeyed(page: Chrome) -> None:
    page.find_element("name", "text").send_keys("Question h")
    shown = page.execute_script("return [...document.querySelectorAll('.column .model')].map(each => each.textContent)")
    assert shown[0] == visible_lines(HOSTILE)
    assert "\\u202eabc" in shown[0], "what would turn the direction of the text is spelled out"
    assert shown[2] == LONG_LINE, "removed by the empty round"
    assert "empty" in all_of(page, ".facts")[2].text


@pytest.mark.slow
def test_examples_are_filtered_by_run_mode_outcome_and_text(page: Chrome) -> None:
    choose(page, "kind", "answers to test questions")
    choose(page, "task", "sums")
    assert one(page, "#status").text == "4 of 124 examples; these 4 runs have 144"
    choose(page, "outcome", "lost against base (1)")
    assert texts(page, ".item p") == ["Question t?"]
    assert texts(page, ".column .badge") == ["right", "unparsable"]
    choose(page, "outcome", "any outcome")
    choose(page, "mode", "compress")
    choose(page, "outcome", "right (1)")
    assert texts(page, ".item p") == ["Question u?"]
    one(page, "#filters [type=reset]").click()
    choose(page, "kind", "answers to test questions")
    choose(page, "run", "arm two, seed 0")
    assert sorted(texts(page, ".item p")) == ["Question t?", "Question u?"]
    assert all(each == "full: right" for each in texts(page, ".item .badge"))
    page.find_element("name", "text").send_keys("nowhere")
    assert one(page, "#status").text == "0 of 2 examples"
    assert one(page, "#example").text == "No example fits these filters."


def test_a_long_list_grows_when_asked_and_when_walked(page: Chrome) -> None:
    from selenium.webdriver import Keys

    choose(page, "kind", "answers to test questions")
    assert len(all_of(page, ".item")) == 100
    one(page, ".more").click()
    assert (len(all_of(page, ".item")), all_of(page, ".more")) == (124, [])
    choose(page, "task", "dates")
    assert one(page, "#status").text == "120 of 124 examples; these 4 runs have 144"
    one(page, "#list").send_keys(Keys.END)
    assert len(all_of(page, ".item")) == 120
    assert all_of(page, ".item")[-1].get_attribute("aria-selected") == "true"
    assert not page.find_element("xpath", "//button[.='Next']").is_enabled()


@pytest.mark.slow
def test_the_list_is_walked_by_keys_and_the_same_question_is_found_in_another_run(page: Chrome) -> None:
    from selenium.webdriver import Keys

    choose(page, "kind", "answers to test questions")
    items = texts(page, ".item p")
    one(page, "#list").send_keys(Keys.ARROW_DOWN)
    assert [each.get_attribute("aria-selected") for each in all_of(page, ".item")].index("true") == 1
    assert one(page, "#list").get_attribute("aria-activedescendant") == all_of(page, ".item")[1].get_attribute("id")
    assert one(page, ".question").text == items[1]
    one(page, "body").send_keys("k")
    assert one(page, ".question").text == items[0]
    one(page, "body").send_keys("j")
    one(page, "body").send_keys("/")
    assert page.switch_to.active_element.get_attribute("name") == "text"
    asked = one(page, ".question").text
    menu = one(page, ".bar select")
    here = page.execute_script("return arguments[0].selectedOptions[0].textContent", menu)
    other = next(each for each in texts(page, ".bar option") if each != here)
    menu.find_element("xpath", f"option[.='{other}']").click()
    assert one(page, ".question").text == asked
    assert page.execute_script("return document.querySelector('.bar select').selectedOptions[0].textContent") == other
    link = page.current_url
    assert "#example-" in link
    page.get("about:blank")
    page.get(link)
    assert one(page, ".question").text == asked, "the address names the example"


def test_notes_are_folded_and_open_when_asked(page: Chrome) -> None:
    note = one(page, "#tables .notes li")
    assert not note.is_displayed()
    all_of(page, "#tables summary")[-2].click()
    assert note.is_displayed()
    assert note.text == "a note & <b>more</b>"


def test_a_table_is_copied_as_latex_and_as_csv(page: Chrome) -> None:
    page.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    copied = {}
    for name in ("LaTeX", "CSV"):
        page.find_element("xpath", f"//button[.='Copy as {name}']").click()
        copied[name] = page.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert r"\begin{table*}[tbp]" in copied["LaTeX"]
    assert r"ten & \textbf{9.5 (9 to 10)} & 100 \\" in copied["LaTeX"]
    assert copied["CSV"].splitlines()[:2] == ["arm,accuracy,tokens", "ten,9.5,100"]


def test_a_link_names_one_example_and_stays_when_the_page_has_other_runs(page: Chrome, report: Report, tmp_path: Path) -> None:
    all_of(page, ".item")[1].click()
    asked, link = one(page, ".question").text, page.current_url.partition("#")[2]
    assert re.fullmatch("example-[0-9a-f]{10}", link)
    all_of(page, ".item")[0].click()
    assert one(page, ".question").text != asked
    page.execute_script(f"location.hash = '{link}'")
    assert one(page, ".question").text == asked, "the page follows its address"
    assert one(page, ".bar .copy").get_attribute("data-copy").endswith(f"#{link}")
    other = tmp_path / "report.html"
    other.write_bytes(files(replace(report, runs=report.runs[::-1]))["report.html"])
    page.get("about:blank")
    page.get(f"{other.as_uri()}#{link}")
    assert one(page, ".question").text == asked


@pytest.mark.parametrize("width", [390, 1280])
def test_the_first_column_stays_while_the_others_move(page: Chrome, width: int) -> None:
    with emulated(page, width):
        page.execute_script("document.querySelectorAll('#tables td').forEach(each => each.style.minWidth = '60rem')")
        place = "return ['thead th', 'tbody th', 'tbody td'].map(each => document.querySelector('#tables ' + each).getBoundingClientRect().x)"
        before = page.execute_script(place)
        page.execute_script("document.querySelector('#tables .scroll').scrollLeft = 200")
        after = page.execute_script(place)
        assert after[:2] == before[:2]
        assert after[2] == before[2] - 200
        assert page.execute_script("return document.querySelector('#tables tbody th').getBoundingClientRect().width") <= 0.6 * width


@pytest.mark.parametrize("width", [360, 1300])
def test_nothing_is_wider_than_the_screen(page: Chrome, width: int) -> None:
    with emulated(page, width):
        page.find_element("name", "text").send_keys("Question h")
        assert one(page, "#example h3").text == "sums: h/0"
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
