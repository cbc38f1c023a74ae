from __future__ import annotations

import pytest
from pydantic import ValidationError

from tunewatch.sources.openai import OpenAISettings


def test_without_a_word_it_is_openai_itself() -> None:
    settings = OpenAISettings()
    assert settings.base_url == "https://api.openai.com/v1"
    assert settings.origin == "https://api.openai.com"
    assert (settings.organization, settings.project) == (None, None)


@pytest.mark.parametrize(
    ("said", "base_url", "origin"),
    [
        ("https://a.example/v1/", "https://a.example/v1", "https://a.example"),
        ("HTTPS://A.Example:443/V1", "https://a.example/V1", "https://a.example"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:80/v1", "http://[::1]/v1", "http://[::1]"),
        (" https://a.example:/v1 ", "https://a.example/v1", "https://a.example"),
    ],
)
def test_a_base_url_has_one_spelling(said: str, base_url: str, origin: str) -> None:
    settings = OpenAISettings(base_url=said)
    assert (settings.base_url, settings.origin) == (base_url, origin)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "ftp://a.example",
        "https://",
        "https:///v1",
        "https://user:hunter2@a.example/v1",
        "https://a.example/v1?key=hunter2",
        "https://a.example/v1#hunter2",
        "https://a.example:hunter2/v1",
        "https://a.example:99999/v1",
        "https://[::1/v1",
        "https://hunter2 .example/v1",
        "https://hunter2..example/v1",
        f"https://{'hunter2' * 10}.example/v1",
        "https://bücher.example/v1",
    ],
)
def test_a_base_url_that_is_none_is_refused_without_an_echo(url: str) -> None:
    with pytest.raises(ValidationError) as raised:
        OpenAISettings(base_url=url)
    assert "hunter2" not in str(raised.value)
    (mistake,) = raised.value.errors(include_url=False, include_input=False)
    assert mistake["loc"] == ("base_url",)
    assert mistake["msg"].startswith("Value error, must ")


@pytest.mark.parametrize("value", ["", "org\r\nx: y", "org 1", "orgé", "x" * 257])
def test_what_cannot_be_a_header_is_no_organization(value: str) -> None:
    for name in ("organization", "project"):
        with pytest.raises(ValidationError):
            OpenAISettings.model_validate({name: value})


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        OpenAISettings.model_validate({"organisation": "org-1"})
