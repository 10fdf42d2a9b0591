"""The documentation is a site that builds without a warning, shows without a network, and holds every setting and command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent

needs_generator = pytest.mark.skipif(find_spec("properdocs") is None, reason="the extra `docs` is not installed: make docs")


@pytest.fixture(scope="module")
def generated_pages() -> ModuleType:
    """The file that makes pages from the code."""
    spec = spec_from_file_location("generated_pages", ROOT / "docs/generated_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "properdocs", "build", "--config-file", str(project / "properdocs.yml"), "--site-dir", str(site)]
    return subprocess.run(command, cwd=project, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@needs_generator
@pytest.mark.slow
def test_the_site_builds_strictly_and_has_every_page(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} | {"settings", "command_help"}
    assert pages <= {path.stem for path in site.glob("*.html")}
    assert {path.parent.name for path in (ROOT / "cotexp").glob("*/__init__.py")} <= {path.stem for path in (site / "reference").glob("*.html")}
    assert "Questions" in (site / "reference/tasks.html").read_text()
    assert not list(site.rglob("*.py"))


@needs_generator
@pytest.mark.slow
def test_a_page_needs_nothing_from_elsewhere(site: Path) -> None:
    """Links may lead away; fonts, styles, scripts and pictures may not."""
    pages = sorted({*site.rglob("*.html")} - {site / "404.html"})  # which only a server shows
    assert len(pages) > 25
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"([^\"]+)", text) + re.findall(r"<link[^>]*\shref=\"([^\"]+)", text)
        assert loaded
        assert not [each for each in loaded if re.match(r"(https?:)?//", each)], page
        assert not [each for each in loaded if not (page.parent / each.split("?")[0]).exists()], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet


@needs_generator
@pytest.mark.slow
def test_a_broken_link_anchor_image_or_reference_ends_the_build(tmp_path: Path) -> None:
    """With this project's settings, on two pages."""
    settings = yaml.safe_load((ROOT / "properdocs.yml").read_text())
    settings |= {"nav": [{"Home": "index.md"}, "running.md"], "hooks": [], "extra_css": []}
    (tmp_path / "properdocs.yml").write_text(yaml.safe_dump(settings))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/running.md").write_text("# Running\n")
    faults = ("[x](nowhere.md)", "[x](running.md#nowhere)", "![x](figures/nowhere.png)", "::: cotexp.nowhere")
    for text in ("[x](running.md#running)", *faults):
        (tmp_path / "docs/index.md").write_text(f"# Home\n\n{text}\n")
        assert (build(tmp_path, tmp_path / "site").returncode != 0) == (text in faults), text


def test_every_setting_is_on_its_page_with_type_limits_and_default(generated_pages: ModuleType) -> None:
    page = generated_pages.settings_page()
    paths = generated_pages.setting_paths()
    assert {"seed", "trainer.lora.rank", "compressor.server.max_cost", "teacher.model.vllm.max_model_len"} <= paths
    shown = {each.replace("<wbr>", "") for each in re.findall(r"^\| <code>(.*?)</code> \|", page, flags=re.MULTILINE)}
    assert shown == paths
    rows = {line.split("</code>")[0].removeprefix("| <code>").replace("<wbr>", ""): line for line in page.splitlines() if line.startswith("| <code>")}
    cells = {path: [cell.strip() for cell in line.strip("| ").split(" | ")] for path, line in rows.items()}
    assert {len(each) for each in cells.values()} == {7}
    assert cells["trainer.lora.rank"][2:] == ["integer", "", "at least 1, at most 8,192", "<code>8</code>", "yes"]
    assert cells["compressor.server.timeout"][2:] == ["number", "seconds", "above 0", "<code>120.0</code>", "no"]
    assert cells["compressor.server.max_cost"][2:] == ["number or null", "US dollars", "above 0", "<code>null</code>", "no"]
    assert cells["evaluation.max_new_tokens"][3] == "tokens"
    assert cells["compression.ratio"][2:5] == ["number", "share", "above 0, at most 1"]
    assert cells["selection.rd"][4] == "`plain`, `masked`, `hidden`"
    assert cells["evaluation.modes"][2] == "list of texts or null"


def test_every_setting_that_a_page_names_exists(generated_pages: ModuleType) -> None:
    known = generated_pages.setting_paths()
    parents = {path.rsplit(".", number)[0] for path in known for number in range(1, path.count(".") + 1)}
    slots = "|".join(generated_pages.SECTIONS)
    pages = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
    named = {(page.name, path) for page in pages for path in re.findall(rf"`((?:{slots})(?:\.\w+)+)\b[^`/]*`", page.read_text())}
    assert len(named) > 60
    files = (".py", ".jsonl", ".yaml", ".md")
    assert not {each for each in named if each[1] not in known | parents and not each[1].endswith(files)}


def test_every_option_of_a_slot_is_on_the_page_of_settings(generated_pages: ModuleType) -> None:
    page = generated_pages.settings_page()
    for slot in generated_pages.SECTIONS:
        for path in (ROOT / "conf" / slot).glob("*.yaml"):
            assert f"`{slot}={path.stem}`" in page


def test_every_command_is_on_its_page(generated_pages: ModuleType) -> None:
    from cotexp.commands import cli

    page = generated_pages.commands_page()
    assert sorted(re.findall(r"^## cotexp (\w+)$", page, flags=re.MULTILINE)) == sorted(cli._RUN)
    assert "--candidates" in page
    assert "\x1b" not in page


def test_every_file_of_the_package_is_in_the_reference(generated_pages: ModuleType) -> None:
    pages = "".join(generated_pages.reference_pages().values())
    for path in (ROOT / "cotexp").rglob("*.py"):
        if not path.stem.startswith("__"):
            assert f"::: {'.'.join(path.relative_to(ROOT).with_suffix('').parts)}\n" in pages


def test_the_citation_names_project_and_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "authors", "message", "version", "license"} <= citation.keys()
    assert [each["url"] for each in citation["references"]] == ["https://arxiv.org/abs/2509.22144", "https://arxiv.org/abs/2509.23574"]
