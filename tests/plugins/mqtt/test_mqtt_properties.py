from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tunewatch_plugins.mqtt.properties import Written

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@given(texts, st.lists(st.tuples(texts, texts), max_size=9))
def test_what_is_written_is_what_the_client_library_would_write(content_type, pairs):
    slow = Properties(PacketTypes.PUBLISH)
    slow.PayloadFormatIndicator = 1
    slow.ContentType = content_type
    if pairs:
        slow.UserProperty = pairs
    assert Written(content_type, pairs).pack() == slow.pack()


def test_of_a_message_of_which_nothing_is_said_nothing_is_written():
    assert Written(None, ()).pack() == b"\x00"
