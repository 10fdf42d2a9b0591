"""Comparisons in processes: what a hostile formula costs in processor time, what it cannot do, and what is left behind.

Nothing here is timed by the clock on the wall: a busy machine makes the tests slower, and their results stay.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import sympy
from latex2sympy2_extended import latex2sympy2

from cotexp.tasks import comparison_worker
from cotexp.tasks.comparison_worker import Comparison
from cotexp.tasks.grading import Answered, grade_all
from cotexp.tasks.judge import Judge

TIMEOUT = 0.5
CONSTANT = 2.0
"""Seconds of processor time for the harmless comparisons beside a hostile one, and for another child."""


def children() -> list[psutil.Process]:
    """Processes that this one started and that still run, without the tracker that Python keeps for all of them."""
    found = []
    for each in psutil.Process().children(recursive=True):
        try:
            if each.status() != psutil.STATUS_ZOMBIE and not any("resource_tracker" in word for word in each.cmdline()):
                found.append(each)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """Two warm workers for the tests of time."""
    with Judge(TIMEOUT) as judge:
        for number in range(4):
            judge.ask([Comparison(str(number), f"{number}.0", False)])
        assert judge.verdict(Comparison("3", "3.0", False))
        yield judge


def ask(judge: Judge, gold: str, text: str, *, whole_text: bool = False) -> bool | None:
    judge.ask([Comparison(gold, text, whole_text)])
    return judge.verdict(Comparison(gold, text, whole_text))


def processor_seconds(judge: Judge) -> float:
    """User and system time of a judge's processes, those included that ended before."""
    keepers = [psutil.Process(each.process.pid) for each in judge._workers]
    return sum(sum(each.cpu_times()[:4]) for keeper in keepers for each in [keeper, *keeper.children()])


def formula(text: str, gold: str, name: str = "0") -> Answered:
    return Answered(id=name, text=text, gold=gold, answer_type="latex")


HOSTILE = {
    "tower": "The answer is 9**9**9**9",
    "boxed tower": "\\boxed{9^{9^{9^{9}}}}",
    "nested braces": "\\boxed{" + "{" * 10_000 + "6" + "}" * 10_000 + "}",
    "nested fractions": "\\boxed{" + "\\frac{1}{" * 3_000 + "2" + "}" * 3_000 + "}",
    "factorials": "\\boxed{9!!!!!!!}",
    "factorial tower": "\\boxed{((((99999)!)!)!)!}",
    "digits": "\\boxed{" + "9" * 100_000 + "}",
    "matrix": "\\boxed{\\begin{pmatrix}" + "\\\\".join("&".join(f"x_{{{i}{j}}}" for j in range(60)) for i in range(60)) + "\\end{pmatrix}}",
    "matrix of ones": "\\boxed{\\operatorname{ones}(100000,100000)}",
    "sum": "\\boxed{\\sum_{n=1}^{10000000000} \\frac{1}{n^2}}",
    "product": "\\boxed{\\prod_{n=1}^{10000000000} n}",
    "integral": "\\boxed{\\int_0^1 \\frac{\\sin(x^x)}{e^{x^5}+\\ln(x)} dx}",
    "power": "\\boxed{2^{10^{9}}}",
    "binomial": "\\boxed{\\binom{10^{10}}{10^{9}}}",
    "roots": "\\boxed{" + "\\sqrt{" * 2_000 + "2" + "}" * 2_000 + "}",
    "boxes": "\\boxed{" * 14_000,
    "parentheses": "(" * 50_000 + "1" + ")" * 50_000,
    "sum of ones": "1+" * 50_000 + "1",
    "dollars": "$" * 100_000,
    "answers": "answer: $1$ and " * 6_000,
    "surrogate": "\ud800 \\boxed{7}",
    "control characters": "\x00\x01\\boxed{7}\x00",
}
QUICK = ("boxed tower", "surrogate")


def cost_beside_others(judge: Judge, name: str) -> float:
    """Seconds of processor time for a hostile text between harmless ones, which must all be graded right."""
    wait_until_warm(judge)
    keepers = {each.process.pid for each in judge._workers}
    before = formula(f"\\boxed{{\\frac{{{len(name)}2}}{{4}}}}", f"\\frac{{{len(name)}1}}{{2}}", "before")
    texts = [
        formula("so \\boxed{\\frac{2k}{4k}}", "\\frac12", "right"),
        formula(HOSTILE[name], "5", "hostile"),
        formula("so \\boxed{\\sqrt{12}}", "2\\sqrt{3}", "right as well"),
        formula("so \\boxed{\\sqrt{13}}", "2\\sqrt{3}", "wrong"),
        before,
    ]
    started = processor_seconds(judge)
    grades = grade_all(texts, judge=judge)
    seconds = processor_seconds(judge) - started
    assert [(each.strict, each.math_verify) for each in grades if each.id != "hostile"] == [
        (True, True),
        (True, True),
        (False, False),
        (False, False),
    ]
    hostile = grades[1]
    assert (hostile.strict, hostile.lenient, hostile.math_verify) == (False, False, False)
    assert keepers <= {each.process.pid for each in judge._workers}, "a worker was started anew, imports and all"
    return seconds


def wait_until_warm(judge: Judge) -> None:
    for number in range(100):
        if ask(judge, str(number), f"{time.monotonic()}+{number}") is not None:
            return
    raise AssertionError("no worker answers")


@pytest.mark.parametrize("name", QUICK)
def test_a_hostile_text_costs_its_time_outs_and_leaves_the_others_alone(judge: Judge, name: str) -> None:
    assert cost_beside_others(judge, name) < 2 * TIMEOUT + CONSTANT


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in QUICK])
def test_every_other_hostile_text_costs_no_more(judge: Judge, name: str) -> None:
    assert cost_beside_others(judge, name) < 2 * TIMEOUT + CONSTANT


@pytest.mark.slow
def test_hostile_gold_answers_cost_no_more_either(judge: Judge) -> None:
    for gold in ("9^{9^{9^{9}}}", "{" * 10_000 + "5" + "}" * 10_000, "x^{17}+\\sin x + e^{x}=y^{13}", "\ud800", "\x00"):
        wait_until_warm(judge)
        started = processor_seconds(judge)
        [grade] = grade_all([formula("\\boxed{5}", gold)], judge=judge)
        assert processor_seconds(judge) - started < 2 * TIMEOUT + CONSTANT
        assert not grade.strict


ENDLESS = "$9^{9^{9^{9}}}$"
BUSY = "while True: pass"


@pytest.mark.slow
def test_labels_are_the_same_while_other_programs_keep_the_machine_busy() -> None:
    """Among them comparisons that run out of processor time, and some that take a part of it."""
    texts = [formula(f"\\boxed{{\\sqrt{{{n * n * 12}}}}} or $x^{n}$", f"{2 * n}\\sqrt{{3}}", str(n)) for n in range(2, 12)]
    texts += [formula(f"\\boxed{{(x+{n})^9}}", f"({n}+x)^8(x+{n})", f"power {n}") for n in range(1, 8)]
    texts += [formula(f"{ENDLESS[:-1]}+{n}$", "5", f"endless {n}") for n in range(3)]
    with Judge(TIMEOUT) as alone:
        first = grade_all(texts, judge=alone)
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        with Judge(TIMEOUT) as beside:
            assert grade_all(texts, judge=beside) == first
    finally:
        for each in others:
            each.kill()
            each.wait()
    assert [each.id for each in first if each.timed_out] == ["endless 0", "endless 1", "endless 2"]
    assert all(each.strict for each in first[:-3])


@pytest.mark.slow
def test_a_comparison_that_ran_out_starts_no_worker_anew_and_holds_up_no_other(judge: Judge) -> None:
    wait_until_warm(judge)
    own = [Comparison(str(number), ENDLESS, True) for number in range(3)]
    harmless = [Comparison(f"{number}/14", f"\\frac{{{3 * number}}}{{42}}", False) for number in range(1, 20)]
    keepers = {each.process.pid for each in judge._workers}
    judge.ask([*own, *harmless])
    assert [judge.verdict(each) for each in harmless] == [True] * len(harmless)
    assert [judge.verdict(each) for each in own] == [None] * len(own)
    assert keepers <= {each.process.pid for each in judge._workers}


def test_a_time_out_is_recorded_and_counts_as_wrong(judge: Judge) -> None:
    [slow, fast] = grade_all([formula("\\boxed{9^{9^{9^{9}}}}", "5"), formula("\\boxed{\\frac{10}{2}}", "5")], judge=judge)
    assert (slow.strict, slow.math_verify, slow.timed_out) == (False, False, True)
    assert (fast.strict, fast.math_verify, fast.timed_out) == (True, True, False)


CODE = [
    "__import__('os').system('touch MARKER')",
    '__import__("os").system("touch MARKER")',
    "open('MARKER','w')",
    "exec(\"open('MARKER','w')\")",
    "(lambda: open('MARKER','w'))()",
    "[open('MARKER','w') for i in (1,)]",
    "1+1 if open('MARKER','w') else 2",
]
WRAPS = [
    "{}",
    "${}$",
    "\\boxed{{{}}}",
    "The answer is {}",
    "The final answer is {}. I hope it is correct.",
    "answer: 1 + {}",
    "$$\\{{ {}, 1 \\}}$$",
    "$x_{{{}}} < 3$",
    "$\\text{{{}}}$",
    "$\\operatorname{{{}}}(1, 2)$",
    "$\\max({}, 2)$",
    "$f({})$",
    "$\\begin{{pmatrix}}{}\\end{{pmatrix}}$",
    "$3 \\cdot ({})$",
]


def test_text_that_looks_like_code_is_never_run(judge: Judge, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    codes = [each.replace("MARKER", str(marker)) for each in CODE]
    texts = [formula(wrap.format(code), gold) for code in codes for wrap in WRAPS for gold in ("1", code)]
    grade_all(texts, judge=judge)
    assert not marker.exists()
    assert not Path("MARKER").exists()


def test_equal_comparisons_are_made_once_and_numbers_need_no_process() -> None:
    with Judge() as judge:
        own = [Answered(id="0", text="The answer is 18", gold="18", answer_type="decimal")]
        assert grade_all(own * 3, judge=judge, whole_text=False)[0].strict
        assert judge._workers == []


@pytest.mark.slow
def test_nothing_is_left_running() -> None:
    before = {each.pid for each in children()}
    with Judge(TIMEOUT) as judge:
        judge.ask([Comparison("5", ENDLESS, True)])
        assert ask(judge, "2", "\\frac{4}{2}")
        assert {each.pid for each in children()} - before
    deadline = time.monotonic() + 600
    while {each.pid for each in children()} - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {each.pid for each in children()} - before == set()


@pytest.mark.slow
def test_nothing_is_left_running_after_an_error() -> None:
    before = {each.pid for each in children()}

    def interrupted() -> None:
        with Judge(TIMEOUT) as judge:
            judge.ask([Comparison(str(number), ENDLESS, True) for number in range(10)])
            assert judge.verdict(Comparison("0", ENDLESS, True)) is None
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert {each.pid for each in children()} - before == set()


@pytest.mark.slow
def test_labels_are_right_when_every_worker_is_killed_at_work() -> None:
    """A crash in C or the kernel's memory killer ends a worker without a word."""
    before = {each.pid for each in children()}
    with Judge(TIMEOUT) as judge:
        wait_until_warm(judge)
        endless = [Comparison(str(number), ENDLESS, True) for number in range(os.cpu_count() or 1)]
        judge.ask(endless)
        judge.send()
        for each in children():
            if each.pid not in before:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        texts = [formula(f"\\boxed{{\\frac{{{2 * n}}}{{4}}}}", f"\\frac{{{n}}}{{2}}", str(n)) for n in range(1, 20)]
        assert [judge.verdict(each) for each in endless] == [None] * len(endless)
        assert all(each.strict and each.math_verify for each in grade_all(texts, judge=judge))
    assert {each.pid for each in children()} - before == set()


def test_workers_that_cannot_start_end_the_run_with_their_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cotexp.tasks.judge.command", lambda descriptor, seconds: [sys.executable, "-c", "raise SystemExit(7)"])
    with Judge(TIMEOUT) as judge, pytest.raises(RuntimeError, match="exit code 7"):
        ask(judge, "2", "\\sqrt{4}")


@pytest.mark.slow
@pytest.mark.parametrize("num_killed", [1, 2, 3])
def test_labels_are_right_whenever_workers_die(num_killed: int) -> None:
    """Even with the pool's lock in their hands, which costs a while."""
    before = {each.pid for each in children()}
    killed: list[int] = []

    def kill_one(grade: object) -> None:
        own = [each.pid for each in children() if each.pid not in before and each.pid not in killed]
        if len(killed) < num_killed and own:
            killed.append(own[0])
            os.kill(own[0], signal.SIGKILL)

    with Judge(20.0) as judge:
        wait_until_warm(judge)
        texts = [formula(f"\\boxed{{\\frac{{{2 * n}}}{{4}}}} and ${n}$", f"\\frac{{{n}}}{{2}}", str(n)) for n in range(1, 200)]
        grades = grade_all(texts, judge=judge, on_grade=kill_one)
        assert len(killed) == num_killed
        assert [each.id for each in grades if not each.strict] == []
        assert ask(judge, "2", "\\frac{6}{3}")
    assert {each.pid for each in children()} - before == set()


@pytest.mark.slow
def test_a_new_pool_takes_the_place_of_one_whose_idle_workers_died() -> None:
    before = {each.pid for each in children()}
    with Judge(20.0) as judge:
        wait_until_warm(judge)
        killed = [each for each in children() if each.pid not in before]
        for each in killed:
            each.kill()
        psutil.wait_procs(killed)
        assert ask(judge, "2", "\\frac{6}{3}"), "also if the death of all of them is seen at once, when they are handed something"
        assert ask(judge, "3", "\\frac{6}{3}") is False


def test_math_verify_works_in_a_thread(judge: Judge) -> None:
    """Its own time-out is an alarm signal, which only a main thread may set."""
    found: list[bool] = []

    def work() -> None:
        with Judge(20.0) as own:
            found.extend(each.strict for each in grade_all([formula("\\boxed{\\frac{4}{2}}", "2"), formula("\\boxed{5}", "4")], judge=own))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(600)
    assert found == [True, False]


SCRIPT = """
    from cotexp.tasks.grading import Answered, grade_all

    def main():
        texts = [Answered(id=str(n), text=f"The answer is ${n}.0$", gold=str(n % 3), answer_type="latex") for n in range(6)]
        print([each.strict for each in grade_all(texts)])

    if __name__ == "__main__":
        main()
"""


@pytest.mark.slow
def test_a_script_may_grade(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[True, True, True, False, False, False]", "")


@pytest.mark.slow
def test_thousands_of_texts_are_graded_in_parallel() -> None:
    texts = [formula(f"So $\\boxed{{\\frac{{{number}}}{{7}}}}$.", f"{number % 2 * number}/7", str(number)) for number in range(1, 2001)]
    with Judge(20.0) as judge:
        grades = grade_all(texts, judge=judge)
    assert [each.id for each in grades] == [each.id for each in texts]
    assert [each.strict for each in grades] == [number % 2 == 1 for number in range(1, 2001)]
    assert not any(each.timed_out for each in grades)


FORMULAS = (
    *("\\frac{1}{2}", "x^2+2x+1", "\\sqrt{3}", "(1,2)", "[0,3)", "\\{1,2\\}", "x<3", "y=2x+1", "1,234", "3!", "\\sin x\\cos y", "|x-1|", "5\\%"),
    *(
        "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
        "(-\\infty,3)\\cup(3,\\infty)",
        "2\\frac12",
        "a(b+c)",
        "\\log_2 8",
        "\\int_0^1 x dx",
        "\\frac{1}{",
        "x # 2",
        "+",
    ),
)


def test_formulas_are_read_as_in_the_full_mode_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(formula: str) -> str:
        try:
            return str(sympy.srepr(latex2sympy2.latex2sympy(formula)))
        except Exception as error:  # noqa: BLE001 - the library raises it at a syntax error
            return repr(error)

    reader = latex2sympy2._Latex2Sympy
    monkeypatch.setattr(reader, "create_parser", reader.create_parser)
    full = [read(each) for each in FORMULAS]
    comparison_worker._parse_fast_first()
    assert type(reader().create_parser("1")) is comparison_worker._FastFirst
    assert [read(each) for each in FORMULAS] == full
