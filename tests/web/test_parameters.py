"""Parameters: whatever is sent is a question, or a mistake that is told."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewatch.api import asked
from tunewatch.api.faults import Mistaken
from tunewatch.cli.wire import pairs
from tunewatch.web.v1.parameters import fields_of, parameters

KINDS = (
    asked.JobsAsked,
    asked.PointsAsked,
    asked.EventsAsked,
    asked.StreamAsked,
    asked.Nothing,
)
names = st.sampled_from(sorted({name for kind in KINDS for name in fields_of(kind)}))
texts = st.text(max_size=30) | st.sampled_from(
    ["", "true", "1", "-1", "9" * 30, "a,b", ",", "@status", "1e3", "\udcff", "\u0661"]
)
keyed = st.builds(lambda name, key: f"{name}[{key}]", names, st.text(max_size=5))


@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(names | keyed | st.text(max_size=12), texts), max_size=6),
)
def test_anything_is_a_question_or_a_mistake(kind, given_pairs):
    question, mistakes = put(kind, given_pairs)
    if question is None:
        assert mistakes
        assert all(len(text) < 600 for text in mistakes.values())
    else:
        assert isinstance(question, kind)
        # And what the command line writes into a URL is read back as it was.
        assert parameters(kind, pairs(question)) == question


def put(kind, given_pairs):
    """Return the question, or the mistakes in it."""
    try:
        return parameters(kind, given_pairs), {}
    except Mistaken as fault:
        return None, fault.mistakes


def test_every_choice_can_be_said():
    for kind in KINDS:
        for name, field in fields_of(kind).items():
            if field.wanted.startswith("true"):
                assert getattr(parameters(kind, [(name, "true")]), name) is True
                assert getattr(parameters(kind, [(name, "false")]), name) is False


@pytest.mark.parametrize("word", ["final", "provisional", "none"])
def test_a_word_of_a_closed_set_is_taken(word):
    assert parameters(asked.JobsAsked, [("decision", word)]).decision == word
    assert get_args(asked.Decision)


def test_lists_can_be_given_at_once_and_again():
    question = parameters(asked.EventsAsked, [("type", "a,b"), ("type", "c")])
    assert question.type == ("a", "b", "c")
    assert parameters(asked.EventsAsked, [("type", "")]).type == ()
