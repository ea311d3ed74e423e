"""The catalogue of causes: each is found by its own evidence, and by no other."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

import pytest

from lehr.causes.catalogue import FAILURES, look_up
from lehr.causes.rule import MAX_EXCERPT, Symptoms
from lehr.causes.words import MAX_SUMMARY, summary_of
from lehr.contracts.explanation import UNKNOWN
from tests.failures import CASES, seen

BY_NAME = [pytest.param(name, symptoms, id=name) for name, symptoms in CASES]


@pytest.mark.parametrize(("name", "symptoms"), BY_NAME)
def test_a_cause_is_found_with_its_evidence_and_a_command(name: str, symptoms: Symptoms) -> None:
    told = look_up(symptoms, ["the champion, if there is one, serves as before"])
    assert told.cause == name
    assert told.evidence
    texts = {"state": [symptoms.state], "error": [symptoms.error], "reason": [symptoms.reason]}
    for one in told.evidence:
        there = " ".join(" ".join(texts.get(one.source, symptoms.log)).split())
        assert one.text.strip("…") in there
        assert len(one.text) <= MAX_EXCERPT
    assert "<" not in told.sentence
    assert told.sentence.endswith(".")
    assert told.next
    assert all(re.match(r"(lehr|aws|sam) ", command) for command in told.next)
    assert "{" not in " ".join([told.sentence, *told.next])


def test_every_cause_has_a_case_and_a_name_of_its_own() -> None:
    names = Counter(cause.name for cause in FAILURES)
    assert set(names.values()) == {1}
    assert set(names) == {name for name, _ in CASES}
    assert len(names) >= 40


@pytest.mark.parametrize(("name", "symptoms"), BY_NAME)
def test_evidence_at_the_wrong_place_shows_nothing(name: str, symptoms: Symptoms) -> None:
    """The control of the test above: the same texts, each handed on to the next source."""
    moved = seen(symptoms.error, symptoms.reason, " ".join(symptoms.log), symptoms.state)
    assert look_up(moved).cause == UNKNOWN


@pytest.mark.parametrize(("name", "symptoms"), BY_NAME)
def test_letters_in_another_order_show_nothing(name: str, symptoms: Symptoms) -> None:
    chance = random.Random(7)

    def shuffled(text: str) -> str:
        return "".join(chance.sample(text, len(text)))

    mixed = seen(
        shuffled(symptoms.state),
        shuffled(symptoms.error),
        shuffled(symptoms.reason),
        *map(shuffled, symptoms.log),
    )
    assert look_up(mixed).cause == UNKNOWN


@pytest.mark.parametrize(("name", "symptoms"), BY_NAME)
def test_without_its_evidence_a_cause_is_not_found(name: str, symptoms: Symptoms) -> None:
    texts = {"state": symptoms.state, "error": symptoms.error, "reason": symptoms.reason}
    log: Sequence[str] = symptoms.log
    for _ in range(len(texts) + 1):
        told = look_up(seen(texts["state"], texts["error"], texts["reason"], *log))
        if told.cause != name:
            return
        # What is left may show the same in another way: its evidence is taken away in its turn.
        for one in told.evidence:
            texts[one.source] = ""
            log = () if one.source == "log" else log
    raise AssertionError(f"{name} is found in nothing")


def test_what_is_in_no_catalogue_is_called_unknown_with_all_that_was_seen() -> None:
    told = look_up(seen("JudgeModel", "ZeroDivisionError", "division by zero", "line 1", "", "line 2"))
    assert told.cause == UNKNOWN
    assert [(one.source, one.text) for one in told.evidence] == [
        ("state", "JudgeModel"),
        ("error", "ZeroDivisionError"),
        ("reason", "division by zero"),
        ("log", "line 1"),
        ("log", "line 2"),
    ]
    assert "lehr report r1" in told.next


def test_details_are_told_where_they_are_known() -> None:
    denied = dict(CASES)["permission-denied"]
    assert look_up(denied).sentence == (
        "A role may not do what it was asked to: s3:PutObject on arn:aws:s3:::lehr/datasets/x."
    )
    bare = seen("SealDataset", "States.Permissions", "no")
    assert look_up(bare).sentence == "A role may not do what it was asked to."
    assert look_up(dict(CASES)["quota-reached"]).sentence.endswith(
        "ml.g5.xlarge for training job usage is 0."
    )
    assert look_up(dict(CASES)["code-raised-an-error"]).sentence.endswith("digit_model.py, line 12.")


def test_a_long_text_is_cut_around_what_was_found() -> None:
    told = look_up(seen("TrainTrials", "x", "a " * 2000 + "CapacityError" + " b" * 2000))
    (one,) = told.evidence
    assert "CapacityError" in one.text
    assert len(one.text) <= MAX_EXCERPT
    assert (one.text[0], one.text[-1]) == ("…", "…")
    assert len(summary_of(told)) <= MAX_SUMMARY
