"""Which examples a page shows, and that texts stand in it once."""

from __future__ import annotations

from pathlib import Path

import pytest
from written_runs import write_run

from cotexp.report import browser
from cotexp.report.browser import browse, choose


def test_what_is_chosen_is_half_by_the_id_alone_and_half_one_of_each_group_in_turn() -> None:
    groups = {f"q{number}": "common" for number in range(100)} | {"rare": "seldom", "odd": "now and then", "even": "now and then"}
    chosen = choose(groups, 10)
    assert len(chosen) == 10
    assert {"rare", "odd"} <= {*chosen} or {"rare", "even"} <= {*chosen}
    assert choose(dict(reversed(groups.items())), 10) == chosen, "the order of the candidates does not matter"
    alike = choose(dict.fromkeys(groups, "common"), 10)
    assert {*chosen[::2]} <= {*choose(dict.fromkeys(groups, "common"), 100)}
    assert len({*alike} & {*chosen}) >= 5, "runs with other outcomes show the same questions"
    assert choose({}, 10) == []
    assert sorted(choose(groups, 1000)) == sorted(groups)


def test_texts_and_questions_that_runs_share_stand_in_the_page_once(tmp_path: Path) -> None:
    own = {"chains": {"a": ["one two", "one", "one two"]}, "answers": {"base": {"t": "right 7"}}}
    runs = {write_run(tmp_path, key, **own): key for key in ("k", "l")}
    found = browse(runs)
    assert found.runs == ["k", "l"]
    assert found.counts == [{"chains": (1, 1), "answers": (1, 1)}] * 2
    first, second = ([{**each, "run": None, "link": None} for each in found.examples if each["run"] == run] for run in (0, 1))
    assert first == second
    assert found.texts == ["one two", [["same", "one"], ["removed", "two"]], [["same", "one "], ["added", "two"]], "right 7"]
    assert [each["text"] for each in found.questions] == ["Question a?", "Question t?"]
    assert [each["gold"] for each in found.questions] == ["7", "7"]


def test_every_run_has_its_share_of_the_page_and_at_least_one_example_of_each_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "MOST_CHARACTERS", 1000)
    monkeypatch.setattr(browser, "LONGEST_TEXT", 150)
    answers = {f"t{number}": "x" * 200 for number in range(20)}
    runs = {write_run(tmp_path, key, answers={"full": {name: key + name + text for name, text in answers.items()}}): key for key in "klm"}
    found = browse(runs)
    shown = [each["answers"] for each in found.counts]
    assert [of for _, of in shown] == [20, 20, 20]
    assert all(1 <= count < 5 for count, _ in shown)
    assert any(str(each).endswith("[…] (53 more characters)") for each in found.texts)


def test_a_run_that_kept_no_questions_is_shown_without_their_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "k", answers={"full": {"t": "right 7"}})
    (folder / "questions.json").write_text('{"test": {"sums": ["t/0"]}}')
    assert browse({folder: "k"}).questions == [{"id": "t", "task": "sums", "text": None, "gold": None}]
