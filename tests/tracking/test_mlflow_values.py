"""Whatever a run is called and however it is set, MLflow's servers accept its names and values, and no two become one."""

from __future__ import annotations

import math
import posixpath
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotexp.tracking import mlflow_values

ACCEPTED = re.compile(r"[/\w.\- ]{1,250}")
"""Names that MLflow accepts on every system."""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("eval/compress/accuracy", "eval/compress/accuracy"),
        ("train/loss/größe", "train/loss/größe"),
        ("train/loss/a+b", "train/loss/a_2b_b"),
        ("a:b", "a_3a_b"),
        ("a//b", "a/_/b"),
        ("/a/", "_/a/_"),
        ("../a/.", "_/a/_"),
        ("", "_"),
        ("a\nb", "a_a_b"),
        ("\ud800", "_d800_"),
    ],
)
def test_a_name_is_kept_as_far_as_mlflow_accepts_it(text: str, name: str) -> None:
    assert mlflow_values.name_of(text) == name


@given(st.text(max_size=600))
def test_every_text_becomes_a_name_that_mlflow_accepts(text: str) -> None:
    name = mlflow_values.name_of(text)
    assert ACCEPTED.fullmatch(name)
    assert posixpath.normpath(name) == name
    assert not name.startswith("/")
    assert name not in (".", "..")


def test_long_names_that_differ_at_their_end_stay_two() -> None:
    first, second = (mlflow_values.name_of("x" * 400 + end) for end in "ab")
    assert first != second
    assert len(first) == len(second) == 250


@given(st.text(max_size=9000), st.sampled_from([mlflow_values.LONGEST_PARAM, mlflow_values.LONGEST_TAG]))
def test_every_value_has_a_length_and_characters_that_databases_accept(text: str, longest: int) -> None:
    value = mlflow_values.value_of(text, longest)
    assert len(value) <= longest
    assert "\0" not in value
    value.encode()


def test_a_value_that_is_cut_says_how_long_it_was() -> None:
    assert mlflow_values.value_of("x" * 7000, 6000).endswith("x... (7000 characters)")
    assert mlflow_values.value_of("x" * 6000, 6000) == "x" * 6000


def test_settings_become_flat_parameters_spelled_as_on_the_command_line() -> None:
    config = {"trainer": {"learning_rate": 1e-3, "lora": {"targets": ["q", "v"]}, "limit": None, "merge": True}, "ablation/selection": "morsd"}
    assert mlflow_values.params(config) == {
        "trainer.learning_rate": "0.001",
        "trainer.lora.targets": "[q,v]",
        "trainer.limit": "null",
        "trainer.merge": "true",
        "ablation/selection": "morsd",
    }


def test_tags_are_words_or_keys_with_values() -> None:
    assert mlflow_values.tags(["paper", "macc/rounds", "who=me", "x=", "a=b=c"]) == {
        "paper": "true",
        "macc/rounds": "true",
        "who": "me",
        "x": "",
        "a": "b=c",
    }


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), (0.5, 0.5), (math.nan, math.nan), (math.inf, math.nan), (-math.inf, math.nan)])
def test_an_infinite_metric_is_no_number_at_mlflow(value: float, number: float) -> None:
    assert mlflow_values.number(value) == pytest.approx(number, nan_ok=True)


def test_batches_have_all_items_once() -> None:
    assert [list(each) for each in mlflow_values.batches(list(range(250)), 100)] == [list(range(100)), list(range(100, 200)), list(range(200, 250))]
    assert list(mlflow_values.batches([], 100)) == []
