"""Announcements are believed only while nothing can be missing in them."""

from hypothesis import given
from hypothesis import strategies as st

from tunewatch.dispatch.hearsay import MOST, Hearsay
from tunewatch.store.records import EventRef


def ref(position: int) -> EventRef:
    return EventRef(
        position=position,
        source_id=1,
        job_key=1,
        type="fine_tuning.event.message",
        id=f"evt_{position}",
        derived=False,
        metadata=None,
        body=b"{}",
    )


class Doubt:
    def __init__(self) -> None:
        self.is_on = False

    def __call__(self) -> bool:
        return self.is_on


def positions(hearsay: Hearsay, after: int) -> list[int] | None:
    news = hearsay.take(after)
    return None if news is None else [one.position for one in news]


def test_before_anything_was_read_hearsay_counts_for_nothing():
    hearsay = Hearsay(Doubt())
    hearsay.note([ref(1)])
    assert positions(hearsay, 0) is None


def test_what_comes_after_a_read_began_is_believed_and_taken_once():
    hearsay = Hearsay(Doubt())
    hearsay.begin()
    hearsay.note([ref(3), ref(4)])
    hearsay.note([ref(4), ref(5)])  # some are announced twice
    assert positions(hearsay, 3) == [4, 5]
    assert positions(hearsay, 5) == []


def test_a_commit_of_unknown_outcome_sends_us_to_the_store():
    doubt = Doubt()
    hearsay = Hearsay(doubt)
    hearsay.begin()
    hearsay.note([ref(1)])
    doubt.is_on = True
    hearsay.note([ref(3)])  # 2 may be committed and was not announced
    assert positions(hearsay, 0) is None
    hearsay.begin()  # still in doubt: the next time is a read again
    assert positions(hearsay, 3) is None
    doubt.is_on = False
    hearsay.begin()
    assert positions(hearsay, 3) == []


def test_too_much_to_keep_is_read_instead():
    hearsay = Hearsay(Doubt())
    hearsay.begin()
    hearsay.note([ref(n) for n in range(1, MOST + 2)])
    assert positions(hearsay, 0) is None


STEPS = ["commit", "lost", "derived", "read", "take"]


@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_whatever_happens_every_event_is_taken_once_and_in_order(steps):
    """A journal, its listeners and a store, with commits whose outcome got lost."""
    doubt = Doubt()
    hearsay, stored, taken, unheard = Hearsay(doubt), [], [], []

    def take() -> None:
        seen = taken[-1] if taken else 0
        news = positions(hearsay, seen)
        if news is None:
            hearsay.begin()
            news = [position for position in stored if position > seen]
        taken.extend(news)

    for step in [*steps, "commit", "take", "take"]:
        if step == "take":
            take()
        elif step == "read":
            hearsay.distrust()
        else:
            stored.append(len(stored) + 1)
            if step == "derived":  # by another writer, whatever was lost before
                hearsay.note([ref(stored[-1])])
            elif step == "lost":  # committed, and nobody was told
                doubt.is_on = True
                unheard.append(stored[-1])
            else:  # the next commit tells of what was missed, too
                doubt.is_on = False
                hearsay.note([ref(n) for n in [*unheard, stored[-1]]])
                unheard.clear()
    assert taken == stored
