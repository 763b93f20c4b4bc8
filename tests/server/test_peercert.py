"""Reading a certificate as `ssl` describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from server.peercert import (
    RevocationList,
    common_name,
    is_valid_for,
    revoked_serials,
)
from tests.support.authority import Authority


def test_the_name_is_the_last_cn() -> None:
    assert common_name({}) is None
    assert common_name({"subject": ((("organizationName", "o"),),)}) is None
    subject = ((("commonName", "a"),), (("organizationName", "o"), ("commonName", "b")))
    assert common_name({"subject": subject}) == "b"


@pytest.mark.parametrize(
    ("kind", "name", "host", "expected"),
    [
        ("DNS", "a.b", "a.b", True),
        ("DNS", "A.b", "a.B", True),
        ("DNS", "a.b", "a.b.", True),
        ("DNS", "a.b", "b", False),
        ("DNS", "a.b", "x.a.b", False),
        ("DNS", "*.b", "a.b", True),
        ("DNS", "*.b", "b", False),
        ("DNS", "*.b", ".b", False),
        ("DNS", "*.b", "x.a.b", False),
        ("DNS", "a*.b", "ax.b", False),
        ("DNS", "x.*.b", "x.a.b", False),
        ("DNS", "", "", False),
        ("DNS", "10.0.0.1", "10.0.0.1", False),
        ("IP Address", "10.0.0.1", "10.0.0.1", True),
        ("IP Address", "10.0.0.1", "10.0.0.2", False),
        ("IP Address", "0:0:0:0:0:0:0:1", "::1", True),
        ("IP Address", "0:0:0:0:0:0:0:1\n", "[::1]", True),
        ("IP Address", "10.0.0.1", "a", False),
        ("email", "a", "a", False),
        ("URI", "a", "a", False),
    ],
)
def test_a_certificate_is_for_the_hosts_it_names(
    kind: str, name: str, host: str, expected: bool
) -> None:
    certificate: dict[str, Any] = {"subjectAltName": (("DNS", "other"), (kind, name))}
    assert is_valid_for(certificate, host) is expected
    assert not is_valid_for({}, host)


@pytest.mark.parametrize("encoding", ["PEM", "DER"])
def test_a_list_holds_the_serial_numbers_of_the_revoked(encoding: str, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    revoked = [authority.issue(name) for name in "ab"]
    path = authority.revoke(tmp_path / "crl", *revoked, encoding=encoding)
    expected = {each.certificate.serial_number for each in revoked}
    assert revoked_serials(path.read_bytes()) == expected


def test_the_first_of_a_chain_that_is_on_the_list_is_named(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    good, bad, worse = [authority.issue(name) for name in ("good", "bad", "worse")]
    listed = RevocationList(authority.revoke(tmp_path / "crl", bad, worse))
    der = [each.certificate.public_bytes(Encoding.DER) for each in (good, bad, worse)]
    assert listed.first_of(der) == bad.certificate.serial_number
    assert listed.first_of(der[:1]) is None
    assert listed.first_of(()) is None
    with pytest.raises(ValueError, match="parsing"):
        listed.first_of([b"no certificate"])
