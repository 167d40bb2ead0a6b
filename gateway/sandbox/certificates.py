"""A trial's CA and its broker's certificate: what an operator's own CA would issue. The CA's key is thrown away."""

import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.protocol.clock import Clock

CA = "claims-gateway trial CA"
LIFETIME = dt.timedelta(days=365)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.CertificateBuilder:
    begun = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(CA))
    dated = begun.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + LIFETIME)
    return dated.public_key(key.public_key()).serial_number(x509.random_serial_number())


def issue_broker(host: str, clock: Clock) -> tuple[bytes, bytes]:
    """Return a new CA's certificate, and key and certificate of a broker that clients reach as `host` or localhost.

    All PEM; the broker's PKCS#8 key and chain are in one file, as Kafka wants it. Valid for a year.
    """
    now = clock.now()
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
    begun = _builder(CA, ca_key, now).add_extension(is_ca, critical=True)
    ca = begun.add_extension(signs, critical=True).add_extension(ca_id, critical=False).sign(ca_key, hashes.SHA256())
    hosts = [x509.DNSName(name) for name in sorted({"localhost", host} - {"127.0.0.1"})]
    names = x509.SubjectAlternativeName([*hosts, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id)
    named = _builder("localhost", broker_key, now).add_extension(names, critical=False)
    signed = named.add_extension(uses, critical=False).add_extension(issuer, critical=False)
    broker = signed.sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = broker_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ca.public_bytes(pem), private + broker.public_bytes(pem)
