from __future__ import annotations

import base64
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier

from support.distribution import write_package
from support.program import Program
from support.receiver_server import Post, receiver
from support.webhook_opening import (
    SECRET,
    Lent,
    Time,
    delivery,
    kept,
    opened,
    outcome_of,
    settled,
)
from tunewatch.plugin import Receipt
from tunewatch.testing.signatures import signature_problem
from tunewatch_plugins.webhook.signing import keyring

# The pair that Svix's server documents, and its published signature of one message.
PRIVATE = (
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9"
    "lMicMFs6Kvg=="
)
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
SEED = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
SIGNATURE = (
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl"
    "8EM+m7TBAg=="
)


class Present:
    """The unix second at which the test that runs began."""

    second = 0


@pytest.fixture(autouse=True)
def _begins() -> None:
    # Not once for all: receivers refuse what is five minutes old, and a suite is older.
    Present.second = int(time.time())


CLIENT = openai.OpenAI(api_key="unused")


def pair(number: int) -> tuple[str, str]:
    """Return a private key and its public half."""
    seed = number.to_bytes(32, "big")
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return (
        "whsk_" + base64.b64encode(seed + public).decode(),
        "whpk_" + base64.b64encode(public).decode(),
    )


def problem(headers: dict[str, str], body: bytes, *secrets: str) -> str | None:
    return signature_problem(headers, body, secrets=secrets, now=Present.second)


@pytest.mark.parametrize("spelled", [PRIVATE, SEED])
def test_the_published_vector_is_reproduced(spelled: str):
    body = b'{"test": 2432232314}'
    headers = keyring(spelled).headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == SIGNATURE
    assert signature_problem(headers, body, secrets=[PUBLIC], now=1614265330.0) is None


@settings(max_examples=500, deadline=None)
@given(st.binary(), st.integers(0, 2**256 - 1), st.uuids())
def test_the_public_half_accepts_every_body_and_no_other(body, number, name):
    private, public = pair(number)
    headers = keyring(private).headers(f"evt_{name.hex}", Present.second, body)
    assert problem(headers, body, public) is None
    assert problem(headers, body + b" ", public) == "no signature matches"
    stranger = pair((number + 1) % 2**256)[1]
    assert problem(headers, body, stranger) == "no signature matches"


def test_openssl_accepts_a_signature(tmp_path: Path):
    raw = base64.b64decode(PUBLIC.removeprefix("whpk_"))
    # SubjectPublicKeyInfo of RFC 8410: a fixed beginning and the key.
    der = bytes.fromhex("302a300506032b6570032100") + raw
    (tmp_path / "key").write_bytes(der)
    body = b'{"object": "event"}'
    headers = keyring(PRIVATE).headers("evt_1", Present.second, body)
    (tmp_path / "signed").write_bytes(b"evt_1.%d.%s" % (Present.second, body))
    signature = headers["webhook-signature"].removeprefix("v1a,")
    (tmp_path / "signature").write_bytes(base64.b64decode(signature))
    done = subprocess.run(
        [
            *("openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER"),
            *("-inkey", "key", "-rawin", "-in", "signed", "-sigfile", "signature"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.stdout.strip() == "Signature Verified Successfully", done.stderr


def test_while_one_kind_replaces_the_other_receivers_of_both_accept():
    body = b'{"a": 1}'
    other, other_public = pair(7)
    headers = keyring(f"{PRIVATE}\n{SECRET}\n{other}\n").headers(
        "evt_1", Present.second, body
    )
    versions = [one.partition(",")[0] for one in headers["webhook-signature"].split()]
    assert versions == ["v1a", "v1", "v1a"]
    CLIENT.webhooks.verify_signature(body, headers, secret=SECRET)
    Verifier(SECRET).verify(body, headers)
    for public in (PUBLIC, other_public):
        assert problem(headers, body, public) is None


async def test_a_delivery_signed_so_arrives_and_is_accepted(tmp_path: Path):
    (tmp_path / "secret").write_text(PRIVATE + "\n")

    def respond(post: Post) -> web.StreamResponse:
        wrong = problem(post.headers, post.body, PUBLIC)
        return web.Response(status=401 if wrong else 200, text=wrong)

    async with (
        receiver(respond) as got,
        opened(
            {"url": got.url(), "secret_file": str(tmp_path / "secret")},
            lent=Lent(clock=Time(Present.second)),
        ) as webhook,
    ):
        assert await outcome_of(webhook, delivery(3)) == Receipt(200)
    assert got.posts[0].headers["webhook-signature"].startswith("v1a,")


@pytest.mark.parametrize("spelled", [PRIVATE, SEED])
async def test_neither_way_to_write_a_private_key_is_repeated(spelled: str):
    def respond(_post: Post) -> web.StreamResponse:
        return web.Response(text=f"we know {PRIVATE} and {SEED}; do you know {PUBLIC}?")

    async with (
        receiver(respond) as got,
        opened({"url": got.url(), "secret": spelled}) as webhook,
    ):
        receipt = kept(await outcome_of(webhook))
    assert receipt is not None
    assert receipt.answer == f"we know whsk_… and whsk_…; do you know {PUBLIC}?"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (PUBLIC, "the public half, which is for the receiver"),
        ("whsk_", "found 0 bytes"),
        ("whsk_" + base64.b64encode(b"x" * 31).decode(), "found 31 bytes"),
        ("whsk_" + base64.b64encode(b"x" * 48).decode(), "found 48 bytes"),
        ("whsk_6Xb/dCcHpPea!", "no base64"),
        (
            "whsk_" + base64.b64encode(b"x" * 64).decode(),
            "two halves that do not belong together",
        ),
    ],
)
def test_what_is_no_private_key_is_refused_and_not_repeated(text: str, found: str):
    with pytest.raises(ValueError, match="line 2: wanted whsk_") as refused:
        keyring(f"{SECRET}\n{text}")
    assert found in str(refused.value)
    if text != PUBLIC:
        assert "tunewatch secret" in str(refused.value)
        assert "6Xb/" not in str(refused.value)
        assert "eHh4" not in str(refused.value)


def without_cryptography(tmp_path: Path) -> Path:
    """Return a directory in which Python finds no such package, as if none were."""
    return write_package(
        tmp_path, "gone", {}, {"cryptography": "raise ModuleNotFoundError(__name__)"}
    )


def test_without_the_package_the_start_is_refused_and_told_what_to_install(
    tmp_path: Path,
):
    program = Program(tmp_path, sites=(without_cryptography(tmp_path),))
    (tmp_path / "tunewatch.toml").write_text(
        '[sources.a]\napi_key = "k"\nbase_url = "http://127.0.0.1:1/v1"\n'
        '[plugins.ops]\nkind = "webhook"\nurl = "https://hooks.example/x"\n'
        f'secret = "{PRIVATE}"\n'
    )
    done = program("--config", "tunewatch.toml", "run", "--once")
    assert done.code == 2
    assert "plugins.ops.secret: line 1: " in done.err
    assert "pip install 'tunewatch[ed25519]'" in done.err
    assert "Traceback" not in done.err
    assert "6Xb/" not in done.err


def test_without_the_package_shared_secrets_still_sign(tmp_path: Path):
    script = (
        "from tunewatch_plugins.webhook.signing import keyring\n"
        f"print(keyring('{SECRET}').headers('evt_1', 1, b'')['webhook-signature'])\n"
    )
    program = Program(tmp_path, sites=(without_cryptography(tmp_path),))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=program.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout.startswith("v1,"), done.stderr


def test_both_kinds_may_stand_in_one_setting():
    table = {"url": "https://hooks.example/x", "secret": [SECRET, PRIVATE]}
    configured, told = settled(table)
    assert configured is not None, told
    assert len(configured.keyrings(print).current().keys) == 2
    assert "6Xb/" not in repr(configured) + configured.model_dump_json()
