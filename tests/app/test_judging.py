"""Which projects are watched: by what is listed, which keys there are, and filters."""

from __future__ import annotations

import pytest

from tunewatch.app.judging import Rules, Verdict, judge
from tunewatch.app.projects_shown import summary
from tunewatch.sources.contract import Project

ALL = Rules()
PROD = Rules(include=("Prod *",), exclude=("Prod sandbox",))


def judged(listed=None, *, rules=ALL, known=True, key=True, before=False) -> Verdict:
    return judge(
        "proj_1",
        listed=listed,
        is_listing_known=known,
        has_key=key,
        is_known=before,
        rules=rules,
    )


def project(title="Prod one", *, archived=False) -> Project:
    return Project(id="proj_1", title=title, is_archived=archived)


def test_a_project_on_the_list_that_has_a_key_is_watched():
    assert judged(project()) is Verdict.WATCHED
    assert judged(project(), key=False) is Verdict.NO_KEY
    assert judged(project(archived=True)) is Verdict.ARCHIVED
    assert judged(project(archived=True), key=False) is Verdict.ARCHIVED


@pytest.mark.parametrize(
    ("title", "verdict"),
    [
        ("Prod one", Verdict.WATCHED),
        ("Prod sandbox", Verdict.LEFT_OUT),
        ("Trial", Verdict.LEFT_OUT),
        ("", Verdict.LEFT_OUT),
    ],
)
def test_filters_are_judged_by_the_title(title, verdict):
    assert judged(project(title), rules=PROD, before=True) is verdict


def test_filters_may_name_the_id():
    assert judged(project("Trial"), rules=Rules(include=("proj_1",))) is Verdict.WATCHED
    by_id = Rules(exclude=("proj_1",))
    assert judged(project(), rules=by_id) is Verdict.LEFT_OUT
    assert judged(rules=by_id, known=False, before=True) is Verdict.LEFT_OUT


def test_while_nobody_knows_the_titles_what_was_watched_stays_watched():
    assert judged(rules=PROD, known=False, before=True) is Verdict.WATCHED
    assert judged(rules=PROD, known=False, before=False) is Verdict.LEFT_OUT
    assert judged(known=False) is Verdict.WATCHED


def test_a_key_of_a_project_that_is_not_listed_is_not_used_unless_it_was_before():
    assert judged() is Verdict.UNLISTED
    assert judged(before=True) is Verdict.WATCHED  # a list may lag


def test_all_of_it_in_a_sentence():
    verdicts = [Verdict.WATCHED] * 3 + [Verdict.NO_KEY] * 2 + [Verdict.ARCHIVED]
    assert summary(verdicts) == (
        "3 of 6 projects are watched; 2 have no key yet, 1 are archived"
    )
    assert summary([]) == "0 of 0 projects are watched"
