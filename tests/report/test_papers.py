"""Figures at the widths of papers: their size, their fonts, and that no text covers another or sticks out."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from matplotlib.text import Text

from cotexp.report import arm_figure, pareto
from cotexp.report.arm_rows import ArmRow
from cotexp.report.papers import PAPERS
from cotexp.report.style import Drawing, drawn, legend_below, panels, picture, text_width, wrapped

NAMES = [f"max_rounds={rounds}, min_tokens=null, full_ratio={ratio}, learning_rate=0.0003" for rounds in (2, 4, 10) for ratio in (0.25, 0.75)]
WIDTHS = [(getattr(paper, kind), paper.points) for paper in PAPERS.values() for kind in ("column", "text")]


def arms() -> list[ArmRow]:
    """Arms close to each other; the last trained on nothing."""
    rows = [
        ArmRow(
            label=label,
            mode="compress",
            answers={0: {}},
            accuracy=0.8 + 0.001 * index,
            low=0.7,
            high=0.9,
            num_tokens=40.0 + index,
            metrics={"eval/compress/x": 1.0},
        )
        for index, label in enumerate(NAMES)
    ]
    return [*rows, ArmRow(label="base (not fine-tuned)", mode="base", answers={0: {}}, accuracy=0.9, low=0.85, high=0.95, num_tokens=92.0)]


def texts_of(figure: Any) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and text.get_window_extent().width > 0]


@pytest.mark.parametrize(("width", "points"), WIDTHS)
def test_all_names_are_within_the_figure_and_none_covers_another(width: float, points: float) -> None:
    (drawing,) = pareto.drawings(arms())
    with drawn(drawing, width, points) as figure:
        figure.canvas.draw()
        found = texts_of(figure)
        everything = " ".join(" ".join(text.get_text().split()) for text in found)
        assert all(name in everything for name in (*NAMES, "base (not fine-tuned)"))
        boxes = [Text.get_window_extent(text) for text in found]
        covering = [
            (found[one].get_text(), found[other].get_text())
            for one, other in itertools.combinations(range(len(found)), 2)
            if boxes[one].overlaps(boxes[other])
        ]
        assert covering == []
        outside = [text for text, box in zip(found, boxes, strict=True) if box.x0 < -1 or box.x1 > figure.bbox.x1 + 1 or box.y0 < -1]
        hidden = [label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()]  # those beyond an axis
        assert [text.get_text() for text in outside if text not in hidden] == []
        assert sorted({text.get_fontsize() for text in found}) == pytest.approx([0.833 * points, points])
        assert not any(axes.get_title() for axes in figure.axes)
        assert figure.get_suptitle() == ""


@pytest.mark.parametrize("kind", ["column", "text"])
def test_a_pdf_is_as_wide_as_the_column_or_the_text_and_holds_its_fonts_as_truetype(kind: str) -> None:
    (drawing,) = pareto.drawings(arms())
    figure = picture(drawing)
    assert figure.at_width is not None
    for paper in PAPERS.values():
        content = figure.at_width(getattr(paper, kind), paper.points, "pdf")
        box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) [\d.]+ ?\]", content)
        assert box
        assert float(box[1]) == pytest.approx(72 * getattr(paper, kind), abs=0.01)
        assert b"/FontFile2" in content
        assert b"/Type3" not in content


def test_the_columns_of_a_style_and_their_gap_are_its_text() -> None:
    assert {name: round(paper.gap, 3) for name, paper in PAPERS.items() if paper.num_columns == 2} == {"acl": 0.236, "icml": 0.25}
    assert 72.27 * PAPERS["acl"].column == pytest.approx(219.08, abs=0.01), "\\columnwidth of acl.sty in points"


@pytest.mark.slow
def test_a_pdf_made_by_another_process_is_the_same_bytes() -> None:
    """Whatever order its sets have."""
    program = (
        "import sys; from cotexp.report.style import Drawing, picture\n"
        "def draw(figure): figure.subplots().set(xlabel='an axis', ylabel='déjà 中'[:5])\n"
        "sys.stdout.buffer.write(picture(Drawing('n', 't', 'd', draw)).at_width(3.03, 9.0, 'pdf'))"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    )
    assert first.startswith(b"%PDF")
    assert first == second


def test_a_legend_has_as_many_columns_as_fit_and_room_below_the_axes() -> None:
    def draw(figure: Any) -> None:
        (axes,) = panels(figure, [1], height=2.0)
        for name in ("one", "two", "three"):
            axes.plot([0, 1], label=name)
        legend_below(figure)

    drawing = Drawing("n", "t", "d", draw)
    heights = {}
    for width in (6.0, 1.6):
        with drawn(drawing, width, 10.0) as figure:
            heights[width] = figure.get_figheight()
    assert heights[1.6] > heights[6.0] > 2.0


def test_texts_are_wrapped_by_their_width_also_within_a_long_word() -> None:
    text = "iiii WWWW " + "W" * 40
    lines = wrapped(text, 1.0).split("\n")
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert lines[0] == "iiii WWWW"
    assert all(text_width(line) <= 1.0 for line in lines)


def test_arms_against_rationales_name_the_model_before_fine_tuning_as_well() -> None:
    assert arm_figure.drawings(arms()) == [], "no arm trained on rationales"
