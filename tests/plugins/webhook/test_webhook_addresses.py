from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.webhook_addresses import EVERY_ADDRESS, INSIDE, NEVER, PUBLIC
from tunewatch_plugins.webhook.addresses import Reach, parse, standing
from tunewatch_plugins.webhook.allowed import AllowList, Guard


def test_the_table_of_forms_is_long_enough_to_mean_something():
    assert len(set(EVERY_ADDRESS)) >= 90


@pytest.mark.parametrize("text", NEVER)
def test_an_address_no_receiver_can_have_is_refused_whatever_is_allowed(text: str):
    address = parse(text)
    allowed = AllowList.of(["hook.example", "0.0.0.0/0", "::/0", "localhost"])
    refusal = Guard("hook.example", is_plain=False, allowed=allowed).refusal(address)
    assert standing(address).reach is Reach.NEVER
    assert refusal is not None
    assert "whatever allow_hosts says" in refusal


@pytest.mark.parametrize("text", INSIDE)
def test_an_address_inside_is_refused_unless_its_name_or_network_is_listed(text: str):
    address = parse(text)
    assert standing(address).reach is Reach.INSIDE
    refusal = Guard("hook.example", False, AllowList()).refusal(address)
    assert refusal is not None
    assert 'allow_hosts = ["hook.example"]' in refusal
    for entry in ("hook.example", "*.example", str(address)):
        allowed = AllowList.of([entry])
        assert Guard("hook.example", False, allowed).refusal(address) is None
    others = AllowList.of(["other.example", "*.hook.example", "203.0.113.0/24"])
    assert Guard("hook.example", False, others).refusal(address) is not None


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_reached_by_tls_and_by_http_only_if_listed(text: str):
    address = parse(text)
    assert standing(address).reach is Reach.PUBLIC
    assert Guard("hook.example", False, AllowList()).refusal(address) is None
    refusal = Guard("hook.example", True, AllowList()).refusal(address)
    assert refusal is not None
    assert "http without TLS" in refusal
    listed = AllowList.of(["hook.example"])
    assert Guard("hook.example", True, listed).refusal(address) is None


@example(ipaddress.IPv4Address("0.0.0.1"))
@example(ipaddress.IPv4Address("169.254.169.254"))
@given(st.ip_addresses(v=4))
def test_whatever_carries_an_address_is_judged_no_better_than_it(
    inner: ipaddress.IPv4Address,
):
    carriers = [
        f"::ffff:{inner}",
        f"64:ff9b::{inner}",
        f"::{inner}",
        f"::ffff:0:{inner}",
        f"2606:4700::5efe:{inner}",
        str(ipaddress.IPv6Address((0x2002 << 112) | (int(inner) << 80))),
        str(
            ipaddress.IPv6Address(
                (0x20010000 << 96) | (0x08080808 << 64) | (int(inner) ^ 0xFFFFFFFF)
            )
        ),
    ]
    if int(inner) == 1:  # ::1 carries nothing: it is loopback
        carriers.remove(f"::{inner}")
    bare = standing(inner).reach
    for text in carriers:
        assert not bare > standing(parse(text)).reach, text


@given(
    st.ip_addresses(v=4, network="169.254.0.0/16")
    | st.just(ipaddress.IPv4Address("100.100.100.200")),
    st.sampled_from([48, 56, 64, 96]),
)
def test_a_metadata_service_behind_a_local_translator_is_never_reached(
    inner: ipaddress.IPv4Address, length: int
):
    base = int(ipaddress.IPv6Address("64:ff9b:1::"))
    shift = {48: 48, 56: 40, 64: 32, 96: 0}[length]
    # Bits 64 to 71 are skipped: the part before them goes up by 8 bits.
    number = int(inner) << shift
    if length != 96:
        low = number & ((1 << 56) - 1)
        number = (number >> 56 << 64) | low
    address = ipaddress.IPv6Address(base | number)
    assert standing(address).reach is Reach.NEVER


@given(st.ip_addresses(v=6, network="64:ff9b:1::/48"))
def test_a_local_translator_is_never_public(address: ipaddress.IPv6Address):
    assert standing(address).reach is not Reach.PUBLIC


@given(st.ip_addresses())
def test_nothing_is_public_here_that_the_registries_call_reserved(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
):
    judged = standing(address)
    if judged.reach is Reach.PUBLIC and not judged.within:
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize(
    ("entry", "host", "is_named"),
    [
        ("hooks.internal", "hooks.internal", True),
        ("Hooks.Internal.", "hooks.internal", True),
        ("hooks.internal", "evil-hooks.internal", False),
        ("*.svc.cluster.local", "a.ns.svc.cluster.local", True),
        ("*.svc.cluster.local", "svc.cluster.local", False),
        ("*.svc.cluster.local", "evilsvc.cluster.local", False),
        ("*.svc.cluster.local", "svc.cluster.local.evil.example", False),
        ("localhost", "localhost", True),
        ("localhost", "localhost.evil.example", False),
    ],
)
def test_names_are_listed_whole_or_by_what_follows_a_star(
    entry: str, host: str, is_named: bool
):
    assert AllowList.of([entry]).has_name(host) is is_named


@pytest.mark.parametrize(
    "entry",
    ["*", "*.*.example", "http://hooks.internal", "a/b", "", "10.0.0.0/33", "a b"],
)
def test_an_entry_that_is_none_is_refused_and_says_what_one_looks_like(entry: str):
    with pytest.raises(ValueError, match=r"\*\.svc\.cluster\.local.*10\.0\.0\.0/8"):
        AllowList.of([entry])


def test_an_address_given_for_a_network_is_refused_with_the_network_meant():
    with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8"):
        AllowList.of(["10.1.2.3/8"])


def test_localhost_permits_loopback_addresses_written_out_but_no_other_name():
    allowed = AllowList.of(["localhost"])
    for host, address, is_permitted in [
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("rebound.example", "127.0.0.1", False),
        ("127.0.0.1", "10.0.0.1", False),
    ]:
        refusal = Guard(host, True, allowed).refusal(parse(address))
        assert (refusal is None) is is_permitted, (host, address)
