"""Which tables need not be begun anew when the configuration was read again."""

from __future__ import annotations

import pytest

from support.kinds import plugin_model, source_model
from tunewatch.config import is_same, load

BASE = """
[sources.a]
kind = "openai"
api_key = "sk-one"
[plugins.ops]
kind = "webhook"
url = "https://hooks.example.com/one"
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "tunewatch.toml"
        path.write_text(text)
        return load(path, {}, source_model=source_model, plugin_model=plugin_model)

    return read


def compare(before, after):
    return (
        is_same(before.sources["a"], after.sources.get("a")),
        is_same(before.plugins["ops"], after.plugins.get("ops")),
    )


def test_what_says_the_same_in_other_words_is_the_same(read):
    after = BASE.replace('kind = "openai"\n', '# the same\npoll_interval = "15000ms"\n')
    assert compare(read(BASE), read(after)) == (True, True)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("sk-one", "sk-two", (False, True)),
        ('kind = "openai"', 'kind = "openai"\npoll_interval = "16s"', (False, True)),
        ("example.com/one", "example.com/two", (True, False)),
        ('kind = "webhook"', 'kind = "webhook"\nevents = ["*"]', (True, False)),
        ('kind = "webhook"', 'kind = "webhook"\nsources = ["a"]', (True, False)),
        (
            'kind = "webhook"',
            'kind = "webhook"\ndelivery = { rate = 2 }',
            (True, False),
        ),
    ],
)
def test_what_says_something_else_is_not(read, old, new, same):
    assert compare(read(BASE), read(BASE.replace(old, new))) == same


def test_a_table_that_is_gone_is_not_the_same(read):
    before = read(BASE)
    assert not is_same(before.sources["a"], None)


def test_a_secret_that_moved_is_another_although_it_says_the_same(read, tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).write_text("sk-one")
    way = 'api_key_file = "{}"'.format
    here, there = (
        read(BASE.replace('api_key = "sk-one"', way(tmp_path / name)))
        for name in ("here", "there")
    )
    assert compare(here, there) == (False, True)


def test_a_file_whose_secret_was_exchanged_is_read_again_by_who_has_it(read, tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-one")
    text = BASE.replace('api_key = "sk-one"', f'api_key_file = "{key}"')
    before = read(text)
    key.write_text("sk-two")
    assert compare(before, read(text)) == (True, True)
    assert before.sources["a"].api_key.get() == "sk-two"
