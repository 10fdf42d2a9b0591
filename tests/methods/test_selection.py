"""Filters in their order, each removable; controls; budgets; and a report that adds up."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Iterable, Sequence

import pytest
import sample_records
from hypothesis import given
from hypothesis import strategies as st

from cotexp.methods.selection import for_validation, select
from cotexp.methods.statistics import selection_metrics
from cotexp.records import Rationale, Score
from cotexp.selections.base import Selection
from cotexp.selections.filters import diverse, jaccard, ngrams, usable
from cotexp.selections.orders import ORDERS


def rationale(
    question: str, sample: int, *, text: str = "", closing: str = "The answer is 1.", num_tokens: int = 10, correct: bool = True
) -> Rationale:
    cot = (text or f"Way {sample}: {sample} and {sample + 1} and {sample + 2} of {question}.") + "\n"
    answer = "1" if closing else None
    return sample_records.rationale(question, sample, cot=cot, closing=closing, answer=answer, correct=correct, num_cot_tokens=num_tokens - 5)


def score(name: str, *, rd: float = 1.0, masked: float = 1.0, hidden: float = 1.0, perplexity: float = 2.0) -> Score:
    """A score with these ratios: one answer token, so that a ratio is the exponential of a difference."""
    ratios = {"plain": rd, "masked": masked, "hidden": hidden}
    nll = {f"answer_nll_{kind}": 3 + math.log(ratio) for kind, ratio in ratios.items()}
    return sample_records.score(name, **nll, nll=10 * math.log(perplexity))


def ids(kept: Iterable[Rationale]) -> list[str]:
    return [each.id for each in kept]


def pool(num_questions: int = 20, num_samples: int = 8, seed: int = 0) -> tuple[dict[str, list[Rationale]], dict[str, Score]]:
    """Random rationales, some wrong, some alike, some without an answer, and their scores."""
    rng = random.Random(seed)
    groups, scores = {}, {}
    for number in range(num_questions):
        own = []
        for sample in range(num_samples):
            words = " ".join(rng.choice("abcdef") for _ in range(12)) if rng.random() < 0.7 else "always the very same few words here"
            closing = "The answer is 1." if rng.random() < 0.9 else ""
            each = rationale(
                f"q{number}", sample, text=words, correct=bool(closing) and rng.random() < 0.6, num_tokens=rng.randrange(20, 90), closing=closing
            )
            own.append(each)
            scores[each.id] = score(
                each.id, rd=rng.uniform(0.1, 2), masked=rng.uniform(0.1, 2), hidden=rng.uniform(0.1, 2), perplexity=rng.uniform(1, 9)
            )
        groups[f"q{number}"] = own
    return groups, scores


# --- each filter ----------------------------------------------------------------------------------------------------------


def test_an_unfinished_rationale_or_one_without_chain_or_answer_is_never_learnt_from() -> None:
    whole = rationale("q", 0)
    cut = dataclasses.replace(rationale("q", 1), finish_reason="length")
    unanswered = rationale("q", 2, closing="")
    bare = dataclasses.replace(rationale("q", 3), cot=" \n")
    assert ids(usable([whole, cut, unanswered, bare])) == ["q/0"]
    kept, outcomes = select({"q": [whole, cut, unanswered, bare]}, {}, Selection(), seed=0)
    assert (ids(kept), outcomes[0].counts["written"], outcomes[0].counts["usable"]) == (["q/0"], 4, 1)


def test_accuracy_keeps_correct_rationales_alone() -> None:
    own = [rationale("q", number, correct=number in (1, 3)) for number in range(4)]
    assert ids(select({"q": own}, {}, Selection(accuracy=True), seed=0)[0]) == ["q/1", "q/3"]
    assert len(select({"q": own}, {}, Selection(), seed=0)[0]) == 4


def test_grams_are_of_words_numbers_and_signs_without_case() -> None:
    assert ngrams("She has 1,250 apples.") == {("she", "has", "1,250"), ("has", "1,250", "apples"), ("1,250", "apples", ".")}
    assert ngrams("Yes") == {("yes",)}
    assert ngrams("A=B") == {("a", "=", "b")}
    assert jaccard(ngrams("a b c d"), ngrams("b c d e")) == pytest.approx(1 / 3)
    assert jaccard(ngrams("a b c"), ngrams("A  B\nC")) == 1


def test_each_character_is_a_word_where_no_spaces_are_written() -> None:
    assert ngrams("他有3个。") == {("他", "有", "3"), ("有", "3", "个"), ("3", "个", "。")}
    assert jaccard(ngrams("他一共有三个苹果，所以还要买两个"), ngrams("她一共有三个苹果，所以还要买两个")) > 0.8
    assert ngrams("사과 세 개") == {("사과", "세", "개")}


def test_a_rationale_is_dropped_at_the_threshold_and_kept_below_it() -> None:
    first, alike = rationale("q", 0, text="a b c d", closing="e."), rationale("q", 1, text="a b c x", closing="e.")
    similarity = jaccard(ngrams(first.text), ngrams(alike.text))
    assert 0 < similarity < 0.5
    assert ids(diverse([first, alike], similarity)) == ["q/0"]
    assert ids(diverse([first, alike], similarity + 1e-9)) == ["q/0", "q/1"]


def test_diversity_compares_with_what_was_kept_and_not_with_what_was_dropped() -> None:
    a, b, c = ("a b c d e f", "c d e f g h", "e f g h i j")
    own = [rationale("q", number, text=text, closing=".") for number, text in enumerate((a, b, c))]
    threshold = jaccard(ngrams(own[0].text), ngrams(own[1].text))
    assert jaccard(ngrams(own[1].text), ngrams(own[2].text)) >= threshold
    assert jaccard(ngrams(own[0].text), ngrams(own[2].text)) < threshold
    assert ids(diverse(own, threshold)) == ["q/0", "q/2"]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=8), min_size=1, max_size=9), st.sampled_from([0.2, 0.5, 0.8, 1.0]))
def test_diversity_agrees_with_every_pair_compared(texts: list[list[str]], threshold: float) -> None:
    own = [rationale("q", number, text=" ".join(words), closing=".") for number, words in enumerate(texts)]
    kept = diverse(own, threshold)
    grams = {each.id: ngrams(each.text) for each in own}
    for one, other in itertools.combinations(kept, 2):
        assert jaccard(grams[one.id], grams[other.id]) < threshold
    for each in (each for each in own if each not in kept):
        assert any(jaccard(grams[each.id], grams[other.id]) >= threshold for other in kept if other.sample < each.sample)


def test_difficulty_keeps_the_lowest_of_the_chosen_kind_and_the_earlier_of_equals() -> None:
    own = [rationale("q", number) for number in range(4)]
    scores = {
        each.id: score(each.id, rd=rd, masked=masked, hidden=hidden)
        for each, rd, masked, hidden in zip(own, (0.9, 0.2, 0.2, 0.5), (0.1, 0.9, 0.8, 0.7), (0.5, 0.6, 0.1, 0.2), strict=True)
    }
    kept = {kind: ids(select({"q": own}, scores, Selection(order="lowest_rd", rd=kind, k=2), seed=0)[0]) for kind in ("plain", "masked", "hidden")}
    assert kept == {"plain": ["q/1", "q/2"], "masked": ["q/0", "q/3"], "hidden": ["q/2", "q/3"]}
    assert ids(select({"q": own}, scores, Selection(order="highest_rd", k=1), seed=0)[0]) == ["q/0"]


def test_the_controls_order_by_length_perplexity_and_chance() -> None:
    own = [rationale("q", number, num_tokens=tokens) for number, tokens in enumerate((30, 10, 50, 20))]
    scores = {each.id: score(each.id, perplexity=value) for each, value in zip(own, (4.0, 3.0, 2.0, 9.0), strict=True)}
    best = {
        order: ids(select({"q": own}, scores, Selection(order=order, k=1), seed=0)[0])[0] for order in ORDERS if order not in ("sample", "random")
    }
    assert best["shortest"] == "q/1"
    assert best["longest"] == "q/2"
    assert best["lowest_perplexity"] == "q/2"
    drawn = [ids(select({"q": own}, {}, Selection(order="random", k=1), seed=seed)[0])[0] for seed in range(400)]
    assert all(60 < drawn.count(each.id) < 140 for each in own), "every rationale is drawn about as often as the others"
    assert drawn[:9] == [ids(select({"q": own}, {}, Selection(order="random", k=1), seed=seed)[0])[0] for seed in range(9)]


def test_rank_surprisal_prefers_high_ranks_among_equal_surprisals_and_high_surprisal_among_equal_ranks() -> None:
    """By hand: 20 / 10, 20 / 40 and 60 / 40."""
    own = [rationale("q", number) for number in range(3)]
    scores = {
        each.id: dataclasses.replace(score(each.id), rank_sum=ranks, nll=nll)
        for each, ranks, nll in zip(own, (20, 20, 60), (10.0, 40.0, 40.0), strict=True)
    }
    assert [scores[each.id].rank_surprisal for each in own] == [2.0, 0.5, 1.5]
    assert ids(select({"q": own}, scores, Selection(order="lowest_rank_surprisal", k=3), seed=0)[0]) == ["q/1", "q/2", "q/0"]
    certain = dataclasses.replace(score("q/0"), rank_sum=10, nll=0.0)
    assert certain.rank_surprisal == pytest.approx(1e13), "a text without surprise teaches nothing, and is divided by no zero"


def test_the_filters_come_in_the_order_of_the_paper() -> None:
    """A wrong rationale of low difficulty, and a twin of a kept one, must not use up places among the k."""
    wrong, first = rationale("q", 0, correct=False), rationale("q", 1, text="a b c d e")
    twin, other = rationale("q", 2, text="a b c d e"), rationale("q", 3, text="quite another way to say it")
    own = [wrong, first, twin, other]
    scores = {each.id: score(each.id, rd=rd) for each, rd in zip(own, (0.1, 0.5, 0.2, 0.9), strict=True)}
    kept, outcomes = select({"q": own}, scores, Selection(accuracy=True, diversity=0.5, order="lowest_rd", k=2), seed=0)
    assert ids(kept) == ["q/1", "q/3"], "the twin goes although it is easier: diversity is decided in sample order"
    outcome = outcomes[0]
    assert outcome.counts == {"written": 4, "usable": 4, "accurate": 3, "diverse": 2, "ordered": 2}


# --- all together ---------------------------------------------------------------------------------------------------------

SELECTIONS = [
    Selection(),
    Selection(accuracy=True),
    Selection(accuracy=True, diversity=0.5, order="lowest_rd", k=3),
    Selection(diversity=0.5, order="highest_rd", rd="masked", k=2),
    Selection(order="random", k=2),
    Selection(order="longest", max_rationales=17),
    Selection(accuracy=True, order="shortest", max_tokens=500),
    Selection(order="random", accuracy=True, k=1, equal_questions=True),
]


@pytest.mark.parametrize("chosen", SELECTIONS, ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_counts_add_up_for_every_question_and_in_total(chosen: Selection, seed: int) -> None:
    groups, scores = pool(seed=seed)
    kept, outcomes = select(groups, scores, chosen, seed=seed)
    assert [each.question_id for each in outcomes] == list(groups)
    for each in outcomes:
        steps = [*each.counts.values(), len(each.kept)]
        assert steps == sorted(steps, reverse=True)
        assert each.counts["written"] == len(groups[each.question_id])
        assert len(each.kept) <= (chosen.k or 99)
    assert sorted(name for each in outcomes for name in each.kept) == sorted(ids(kept))
    assert len(set(ids(kept))) == len(kept)
    metrics = selection_metrics(outcomes, kept)
    dropped = sum(value for name, value in metrics.items() if name.startswith("num_dropped_"))
    assert metrics["num_kept"] + dropped == metrics["num_written"] == sum(map(len, groups.values()))
    assert metrics["num_questions_without"] == sum(not any(each.question_id == name for each in kept) for name in groups)
    assert metrics["num_tokens"] == sum(each.num_tokens for each in kept)


@pytest.mark.parametrize("chosen", SELECTIONS, ids=str)
def test_more_k_rationales_or_tokens_keep_all_that_fewer_keep(chosen: Selection) -> None:
    groups, scores = pool(seed=3)
    few = set(ids(select(groups, scores, chosen, seed=5)[0]))
    for name, more in (("k", 1), ("max_rationales", 5), ("max_tokens", 200)):
        if (value := getattr(chosen, name)) is not None and not chosen.equal_questions:
            assert few <= set(ids(select(groups, scores, dataclasses.replace(chosen, **{name: value + more}), seed=5)[0])), name


@pytest.mark.parametrize("order", ORDERS)
def test_budgets_are_met_rank_by_rank(order: str) -> None:
    groups, scores = pool(num_questions=30, seed=7)
    counted = Selection(order=order, max_rationales=40)
    kept, outcomes = select(groups, scores, counted, seed=0)
    assert len(kept) == 40
    per_question = [len(each.kept) for each in outcomes]
    assert max(per_question) - min(each for each, outcome in zip(per_question, outcomes, strict=True) if outcome.counts["ordered"] > 2) <= 1
    weighed, _ = select(groups, scores, Selection(order=order, max_tokens=1000), seed=0)
    assert 1000 - 90 < sum(each.num_tokens for each in weighed) <= 1000


def test_equal_questions_are_the_same_for_every_selection() -> None:
    groups, scores = pool(num_questions=60, num_samples=4, seed=9)
    arms = [
        Selection(order="random", k=1, equal_questions=True),
        Selection(accuracy=True, order="random", k=1, equal_questions=True),
        Selection(accuracy=True, diversity=0.5, order="lowest_rd", k=1, equal_questions=True),
        Selection(accuracy=True, diversity=0.5, order="highest_rd", k=1, equal_questions=True),
    ]
    questions = [{each.question_id for each in select(groups, scores, arm, seed=0)[0]} for arm in arms]
    assert all(each == questions[0] for each in questions)
    assert 10 < len(questions[0]) < 60
    two = [{each.question_id for each in select(groups, scores, dataclasses.replace(arm, k=2), seed=0)[0]} for arm in arms]
    assert all(each == two[0] for each in two)
    assert two[0] < questions[0]


def test_rationales_of_one_wording_count_for_equal_questions_from_another_similarity() -> None:
    shared = " ".join(f"word{number}" for number in range(20))
    alike = [rationale("q", sample, text=f"{shared} {sample}", closing="") for sample in range(3)]
    own = [dataclasses.replace(each, closing="The answer is 1.") for each in alike]
    assert 0.5 < jaccard(ngrams(own[0].text), ngrams(own[1].text)) < 0.95
    two = Selection(order="random", k=2, equal_questions=True)
    assert select({"q": own}, {}, two, seed=0)[0] == [], "by default they count as one"
    near = dataclasses.replace(two, common_diversity=0.95)
    for arm in (near, dataclasses.replace(near, accuracy=True, diversity=0.95)):
        assert len(select({"q": own}, {}, arm, seed=0)[0]) == 2
    assert select({"q": own[:1] * 2}, {}, near, seed=0)[0] == [], "the same text twice is one"


def test_questions_with_fewer_rationales_than_equal_questions_promise_are_counted() -> None:
    """The wrong rationale comes first and is similar to both correct ones, which differ from each other."""
    words = [f"word{number}" for number in range(24)]
    texts = (words, words[:16], words[8:])
    own = [rationale("q", sample, text=" ".join(text), closing="The answer is 1.", correct=sample > 0) for sample, text in enumerate(texts)]
    two = Selection(accuracy=True, diversity=0.5, order="random", k=2, equal_questions=True)
    for arm, num_below in ((two, 0), (dataclasses.replace(two, accuracy=False), 1)):
        kept, outcomes = select({"q": own}, {}, arm, seed=0)
        assert selection_metrics(outcomes, kept, k=2)["num_questions_below_k"] == num_below
        assert len(kept) == 2 - num_below


def test_what_chooses_the_checkpoint_is_the_same_for_every_order_and_filter() -> None:
    groups, _ = pool(seed=2)
    arms = [Selection(k=2), Selection(accuracy=True, diversity=0.5, order="lowest_rd", k=2), Selection(order="random", k=2)]
    judges = [ids(for_validation(groups, arm)) for arm in arms]
    assert judges[0] == judges[1] == judges[2]
    assert all(each.correct for own in groups.values() for each in own if each.id in judges[0])
    assert max(sum(name.startswith(f"{question}/") for name in judges[0]) for question in groups) == 2
    everything = for_validation(groups, Selection(validation="all"))
    assert ids(everything) == [each.id for own in groups.values() for each in usable(own)]


def test_questions_without_rationales_are_counted() -> None:
    kept, outcomes = select({"q0": [], "q1": [rationale("q1", 0)]}, {}, Selection(), seed=0)
    assert ids(kept) == ["q1/0"]
    assert selection_metrics(outcomes, kept)["num_questions_without"] == 1
    assert select({}, {}, Selection(), seed=0) == ([], [])


def test_order_without_scores_needs_none() -> None:
    groups, scores = pool(seed=4)
    for order in ("sample", "random", "shortest", "longest"):
        limited = Selection(order=order, k=2)
        assert not limited.needs_scores
        assert ids(select(groups, {}, limited, seed=0)[0]) == ids(select(groups, scores, limited, seed=0)[0])


def test_random_order_is_not_that_of_the_samples() -> None:
    own: Sequence[Rationale] = [rationale("q", number) for number in range(8)]
    orders = {tuple(ids(Selection(order="random", k=8)._in_order(own, {}, seed))) for seed in range(20)}
    assert len(orders) > 15
