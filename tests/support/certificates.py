"""A certificate authority of one's own, and certificates by it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """Files in PEM form."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Who issues certificates; `certificate` is what others trust it by."""

    directory: Path
    certificate: Path
    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def founded(cls, directory: Path) -> Authority:
        """Return a new authority that keeps its files in a directory."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _named("authority of a test")
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        signed = (
            _builder(name, name, key, ends=dt.datetime.now(dt.UTC) + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        directory.mkdir(exist_ok=True)
        path = directory / "authority.pem"
        path.write_bytes(signed.public_bytes(_PEM))
        return cls(directory=directory, certificate=path, name=name, key=key)

    def issue(
        self,
        name: str,
        *,
        stem: str = "",
        ends: dt.datetime | None = None,
        password: str | None = None,
        names: Sequence[x509.GeneralName] = (),
    ) -> Papers:
        """Issue a certificate for a host name, valid for a day, or until it ends.

        `names` are those it has instead of the host's.

        Its files are called `certificate.pem` and `key.pem`, after `stem`.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            self.key.public_key()
        )
        ends = ends or dt.datetime.now(dt.UTC) + _DAY
        signed = (
            _builder(_named(name), self.name, key, ends=ends)
            .add_extension(
                x509.SubjectAlternativeName(names or [x509.DNSName(name)]), False
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(identifier, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        papers = Papers(
            authority=self.certificate,
            certificate=self.directory / f"{stem}certificate.pem",
            key=self.directory / f"{stem}key.pem",
        )
        papers.certificate.write_bytes(signed.public_bytes(_PEM))
        papers.key.write_bytes(_written(key, password))
        return papers


def self_signed(directory: Path, *, name: str) -> Papers:
    """Issue a certificate by nobody but itself, which may sign no other."""
    key = ec.generate_private_key(ec.SECP256R1())
    signed = (
        _builder(_named(name), _named(name), key, ends=dt.datetime.now(dt.UTC) + _DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate, kept = directory / "self-certificate.pem", directory / "self-key.pem"
    certificate.write_bytes(signed.public_bytes(_PEM))
    kept.write_bytes(_written(key, None))
    return Papers(authority=certificate, certificate=certificate, key=kept)


def issued(directory: Path, *, name: str) -> Papers:
    """Issue a certificate for a host name, valid for a day, by a new authority."""
    return Authority.founded(directory).issue(name)


def _written(key: ec.EllipticCurvePrivateKey, password: str | None) -> bytes:
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        how = serialization.BestAvailableEncryption(password.encode())
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, how)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    ends: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(ends, dt.datetime.now(dt.UTC)) - _DAY)
        .not_valid_after(ends)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
