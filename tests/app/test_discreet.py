"""What plugins say is kept and shown without the secrets that are known."""

from __future__ import annotations

import pytest

from tunewatch.app.discreet import clearing, discreet
from tunewatch.plugin import Pause, Receipt, Reject, Retry
from tunewatch.settings import Secret
from tunewatch.telemetry import Redactor

KEY = "sk-canary-0a1b2c3d"


class Says:
    """A sink that returns or raises what it is told."""

    def __init__(self, said):
        self.said = said

    async def deliver(self, _delivery):
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


class Thinks(Says):
    """A reactor that does."""

    async def react(self, _delivery):
        raise self.said


def told(plugin):
    return discreet(plugin, clearing(Redactor([Secret.of(KEY)])))


async def test_an_answer_that_echoes_a_secret_is_kept_without_it():
    sink = told(Says(Receipt(200, f"you sent {KEY}, thank you")))
    assert await sink.deliver(None) == Receipt(200, "you sent ***, thank you")


@pytest.mark.parametrize("refusal", [Retry, Reject, Pause])
@pytest.mark.parametrize("kind", [Says, Thinks])
async def test_so_are_a_refusal_and_the_answer_that_it_carries(kind, refusal):
    error = refusal(f"no: {KEY}", receipt=Receipt(403, f"bad {KEY}"))
    plugin = told(kind(error))
    call = plugin.react if kind is Thinks else plugin.deliver
    with pytest.raises(refusal) as caught:
        await call(None)
    assert caught.value.reason == "no: ***"
    assert caught.value.receipt == Receipt(403, "bad ***")


class Own(Reject):
    """A plugin's own refusal, which knows nothing of receipts."""

    def __init__(self):
        self.reason = "mine"


@pytest.mark.parametrize("returned", ["OK", 200, {"a": 1}, object(), None])
async def test_what_is_no_receipt_is_none(returned):
    assert await told(Says(returned)).deliver(None) is None


async def test_an_odd_receipt_and_an_odd_refusal_do_no_harm():
    sink = told(Says(Receipt(200, object())))
    assert await sink.deliver(None) == Receipt(200)
    with pytest.raises(Own) as caught:
        await told(Says(Own())).deliver(None)
    assert caught.value.receipt is None
