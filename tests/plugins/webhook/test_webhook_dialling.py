"""What is really dialled, seen where every address there is leads to one receiver."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Papers, issued
from support.loopback import alone
from support.webhook_addresses import INSIDE, NEVER, PUBLIC


def dialled(
    tmp_path: Path,
    deliveries: Sequence[tuple[str, list[str]] | tuple[str, list[str], str]],
    *,
    names: dict[str, list[list[str]]] | None = None,
    control: list[str] | None = None,
    papers: Papers | None = None,
) -> dict[str, Any]:
    resolve_by = tmp_path / "resolv.conf"
    resolve_by.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    asked = {
        "deliveries": deliveries,
        "names": names or {},
        "control": control or [],
        "papers": papers and {n: str(p) for n, p in asdict(papers).items()},
    }
    printed = alone("support.webhook_dials", [json.dumps(asked)], resolve_by=resolve_by)
    told: dict[str, Any] = json.loads(printed)
    return told


def url(address: str, scheme: str = "http") -> str:
    bare = address.partition("%")[0]
    host = f"[{bare}]" if ":" in bare else bare
    return f"{scheme}://{host}:PORT/hook"


def family(address: str) -> int:
    return ipaddress.ip_address(address.partition("%")[0]).version


def test_no_refused_address_is_ever_dialled_though_each_would_answer(tmp_path: Path):
    # Behind a name, so that nothing but the judgement at the socket can refuse them.
    named = {f"n{i}.test": [[a.partition("%")[0]]] for i, a in enumerate(NEVER)}
    inside = {f"i{i}.test": [[address]] for i, address in enumerate(INSIDE)}
    asked = [(f"https://{name}:PORT/", ["0.0.0.0/0", "::/0"]) for name in named]
    asked += [(f"https://{name}:PORT/", ["other.test"]) for name in inside]
    told = dialled(
        tmp_path, asked, names={**named, **inside}, control=[*NEVER, *INSIDE]
    )
    # Some addresses cannot be dialled by anybody (multicast); most can, and were.
    assert len(told["reached"]) >= 70
    assert len(asked) >= 85
    assert {"169.254.169.254", "127.0.0.1", "fd00:ec2::254"} <= set(told["reached"])
    for result in told["results"]:
        assert result["dialled"] == [], result
        assert "leads to" in result["said"], result
        assert result["said"].startswith("plugin: "), result


def test_an_address_in_the_url_is_refused_before_anything_is_dialled(tmp_path: Path):
    asked = [(url(address, "https"), ["localhost.test"]) for address in NEVER + INSIDE]
    for result in dialled(tmp_path, asked)["results"]:
        assert result["dialled"] == [], result
        assert "a.toml: plugins.ops.url: " in result["said"], result


@pytest.mark.parametrize(
    "spelled",
    [
        "http://2130706433:PORT/",
        "http://0x7f000001:PORT/",
        "http://0x7f.1:PORT/",
        "http://017700000001:PORT/",
        "http://127.1:PORT/",
        "http://0:PORT/",
        "http://[::]:PORT/",
        "http://[::ffff:7f00:1]:PORT/",
        "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
        "http://localhost.:PORT/",
        "http://LOCALHOST:PORT/",
        "http://①②⑦.⓪.⓪.①:PORT/",
        "http://169.254.169.254.:PORT/",
        "http://2852039166:PORT/",
        "http://0xa9fea9fe:PORT/",
        "http://user@127.0.0.1:PORT/",
        "http://public.test@127.0.0.1:PORT/",
        "http://127.0.0.1%2f@public.test:PORT/",
        "https://[fe80::1%25lo]:PORT/",
    ],
)
def test_an_odd_spelling_of_an_address_gets_nowhere(tmp_path: Path, spelled: str):
    asked: list[tuple[str, list[str]]] = [
        (spelled, []),
        (spelled, ["public.test", "203.0.113.0/24"]),
    ]
    told = dialled(tmp_path, asked, control=["127.0.0.1"])
    assert told["reached"] == ["127.0.0.1"]
    for result in told["results"]:
        assert result["dialled"] == []
        assert result["said"] != "delivered"


def test_what_may_be_reached_is_reached_by_its_own_address(tmp_path: Path):
    fit = [a for a in PUBLIC + INSIDE if "ffff" not in a]
    asked = [(url(address), [address]) for address in fit]
    told = dialled(tmp_path, asked)
    for address, result in zip(fit, told["results"], strict=True):
        assert result["said"] == "delivered", result
        ((seen,),) = [result["dialled"]]
        assert ipaddress.ip_address(seen) == ipaddress.ip_address(address)


def test_a_listed_name_reaches_private_addresses_but_never_metadata(tmp_path: Path):
    names = {
        "hook.ns.svc.cluster.local": [["10.96.0.17"]],
        "meta.ns.svc.cluster.local": [["169.254.169.254"]],
        "other.test": [["10.96.0.17"]],
    }
    allowed = ["*.svc.cluster.local"]
    told = dialled(
        tmp_path,
        [
            ("http://hook.ns.svc.cluster.local:PORT/", allowed),
            ("http://meta.ns.svc.cluster.local:PORT/", allowed),
            ("https://other.test:PORT/", allowed),
            ("http://other.test:PORT/", ["10.96.0.0/12"]),
        ],
        names=names,
    )
    first, meta, unlisted, by_network = told["results"]
    assert (first["said"], first["dialled"]) == ("delivered", ["10.96.0.17"])
    assert "metadata" in meta["said"]
    assert 'add allow_hosts = ["other.test"] or ["10.96.0.17"]' in unlisted["said"]
    assert meta["dialled"] == unlisted["dialled"] == []
    assert (by_network["said"], by_network["dialled"]) == ("delivered", ["10.96.0.17"])


def test_a_name_that_nobody_knows_is_told_without_the_url(tmp_path: Path):
    told = dialled(tmp_path, [("https://unknown.test:PORT/CANARY?x=CANARY", [])])
    (result,) = told["results"]
    assert result["said"].startswith("plugin: the name unknown.test is not found: ")
    assert "CANARY" not in result["said"]


def test_plain_http_to_a_public_address_needs_more_than_a_listed_network(
    tmp_path: Path,
):
    names = {"moved.test": [["93.184.216.34"]]}
    told = dialled(tmp_path, [("http://moved.test:PORT/", ["10.0.0.0/8"])], names=names)
    (result,) = told["results"]
    assert result["dialled"] == []
    assert "by http without TLS: use https" in result["said"]


def test_a_name_that_changes_its_mind_is_judged_at_every_dial(tmp_path: Path):
    turns = [["93.184.216.34"], ["169.254.169.254"], ["127.0.0.1"], ["10.0.0.1"]]
    asked = [("http://rebound.test:PORT/", ["93.184.216.0/24"])] * 16
    told = dialled(tmp_path, asked, names={"rebound.test": turns})
    delivered = [r for r in told["results"] if r["said"] == "delivered"]
    assert len(delivered) == 4
    for result in told["results"]:
        assert result["dialled"] in ([], ["93.184.216.34"]), result
        assert bool(result["dialled"]) is (result["said"] == "delivered"), result


def test_of_several_addresses_only_those_permitted_are_dialled(tmp_path: Path):
    mixed = ["169.254.169.254", "127.0.0.1", "93.184.216.34", "fd00:ec2::254", "::1"]
    names = {"mixed.test": [mixed], "bad.test": [["169.254.169.254", "::1"]]}
    told = dialled(
        tmp_path,
        [
            ("http://mixed.test:PORT/", ["93.184.216.34"]),
            ("https://bad.test:PORT/", []),
        ],
        names=names,
    )
    mixed_result, bad = told["results"]
    assert (mixed_result["said"], mixed_result["dialled"]) == (
        "delivered",
        ["93.184.216.34"],
    )
    assert bad["dialled"] == []
    assert "leads to" in bad["said"]


def test_whatever_address_a_name_leads_to_host_and_tls_name_are_the_name(
    tmp_path: Path,
):
    leads = {
        "public.hooks.test": ("93.184.216.34", []),
        "private.hooks.test": ("10.9.8.7", ["private.hooks.test"]),
        "six.hooks.test": ("fd12::7", ["fd12::/16"]),
    }
    told = dialled(
        tmp_path,
        [(f"https://{name}:PORT/x?y=1", entry) for name, (_, entry) in leads.items()],
        names={name: [[address]] for name, (address, _) in leads.items()},
        papers=issued(tmp_path, name="*.hooks.test"),
    )
    for (name, lead), result in zip(leads.items(), told["results"], strict=True):
        assert (result["said"], result["dialled"]) == ("delivered", [lead[0]])
        assert result["names"] == [name]
        assert result["hosts"] == [f"{name}:PORT"]


def test_a_certificate_for_another_name_is_refused_at_the_right_address(
    tmp_path: Path,
):
    told = dialled(
        tmp_path,
        [("https://other.test:PORT/", [])],
        names={"other.test": [["93.184.216.34"]]},
        papers=issued(tmp_path, name="hook.test"),
    )
    (result,) = told["results"]
    assert result["said"].startswith("plugin: the certificate of other.test:PORT is")
    assert result["names"] == ["other.test"]
    assert result["hosts"] == []


def test_no_redirect_leads_anywhere(tmp_path: Path):
    places = [f"{url(address)}/SECRET" for address in [*NEVER, *INSIDE, *PUBLIC]]
    places += ["/SECRET", "//169.254.169.254/SECRET", "https://name.test/SECRET"]
    asked = [(url("10.0.0.7"), ["10.0.0.7"], place) for place in places]
    told = dialled(tmp_path, asked, names={"name.test": [["93.184.216.34"]]})
    assert len(told["results"]) >= 110
    for result in told["results"]:
        assert result["dialled"] == ["10.0.0.7"], result
        assert "are not followed" in result["said"]
        assert "SECRET" not in result["said"]


def test_a_proxy_in_the_environment_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.9:3128")
        monkeypatch.setenv(name.upper(), "http://127.0.0.9:3128")
    (result,) = dialled(tmp_path, [(url("10.0.0.7"), ["10.0.0.7"])])["results"]
    assert (result["said"], result["dialled"]) == ("delivered", ["10.0.0.7"])
