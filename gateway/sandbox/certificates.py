"""A test CA and a broker's certificate for localhost, valid for a month: what an operator's own CA would issue."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.protocol.clock import SystemClock

LIFETIME = dt.timedelta(days=30)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = SystemClock().now()
    begun = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name("claims-gateway test CA"))
    dated = begun.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + LIFETIME)
    return dated.public_key(key.public_key()).serial_number(x509.random_serial_number())


def write_certificates(folder: Path) -> None:
    """Write `ca.pem` and `broker.pem` (PKCS#8 key and chain in one file, as Kafka wants it) into a new folder."""
    folder.mkdir(mode=0o700)
    ca_key, broker_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    is_ca = x509.BasicConstraints(ca=True, path_length=0)
    signs = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    begun = _builder("claims-gateway test CA", ca_key).add_extension(is_ca, critical=True)
    ca = begun.add_extension(signs, critical=True).add_extension(ca_id, critical=False).sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id)
    named = _builder("localhost", broker_key).add_extension(names, critical=False).add_extension(uses, critical=False)
    broker = named.add_extension(issuer, critical=False).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = broker_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "broker.pem").touch(mode=0o600)
    (folder / "broker.pem").write_bytes(private + broker.public_bytes(pem))
