"""The certificate of --auto-tls: for whom, how long, and the same after a restart."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509

from server.selfsigned import ensure_pair
from server.settings.config import StartError
from tests.support.loop import run_in_loop
from tests.support.secure import secure, trusting

UNIX_S = 1_700_000_000.5


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_it_is_for_the_hosts_given_and_for_whole_years_from_now(tmp_path: Path) -> None:
    hosts = ["localhost", "10.0.0.1", "::1"]
    pair = ensure_pair(tmp_path / "fixtures" / "client", hosts, validity_years=3, unix_s=UNIX_S)
    made = _certificate(pair.cert_file)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "::1"]
    assert made.not_valid_before_utc.timestamp() == 1_700_000_000
    valid_for = made.not_valid_after_utc - made.not_valid_before_utc
    assert valid_for == datetime.timedelta(days=3 * 365)
    assert made.subject == made.issuer


def test_the_files_are_etcds_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    pair = ensure_pair(tmp_path / "d", ["localhost"], validity_years=1, unix_s=UNIX_S)
    assert pair == (tmp_path / "d" / "cert.pem", tmp_path / "d" / "key.pem")
    assert sorted(each.name for each in (tmp_path / "d").iterdir()) == ["cert.pem", "key.pem"]
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in pair} == {0o600}


def test_it_is_made_once(tmp_path: Path) -> None:
    first = ensure_pair(tmp_path, ["localhost"], validity_years=1, unix_s=UNIX_S)
    before = [each.read_bytes() for each in first]
    assert ensure_pair(tmp_path, ["other"], validity_years=9, unix_s=UNIX_S + 1e9) == first
    assert [each.read_bytes() for each in first] == before


@pytest.mark.parametrize("missing", ["cert.pem", "key.pem"])
def test_half_a_pair_is_made_anew(missing: str, tmp_path: Path) -> None:
    first = ensure_pair(tmp_path, ["localhost"], validity_years=1, unix_s=UNIX_S)
    before = _certificate(first.cert_file).serial_number
    (tmp_path / missing).unlink()
    (tmp_path / f"{missing}.new").write_bytes(b"cut short")
    second = ensure_pair(tmp_path, ["localhost"], validity_years=1, unix_s=UNIX_S)
    assert _certificate(second.cert_file).serial_number != before
    assert not list(tmp_path.glob("*.new"))


def test_a_validity_beyond_the_calendar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too long"):
        ensure_pair(tmp_path, ["localhost"], validity_years=10_000, unix_s=UNIX_S)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("transport", ["native", "grpcio"])
def test_a_client_that_trusts_it_trusts_the_next_start_too(transport: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = {"auto_tls": True, "data_dir": tmp_path / "data"}
        cert_file = tmp_path / "data" / "fixtures" / "client" / "cert.pem"
        serials = set()
        for _ in range(2):
            async with secure(transport, **settings) as server:
                shown = await server.handshake(trusting(cert_file))
                serials.add(shown.serial)
        assert serials == {_certificate(cert_file).serial_number}

    run_in_loop(scenario())


def test_where_it_cannot_be_kept_the_start_fails(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"a file")

    async def scenario() -> None:
        with pytest.raises(StartError, match="data"):
            async with secure("native", auto_tls=True, data_dir=tmp_path / "data"):
                pass

    run_in_loop(scenario())
