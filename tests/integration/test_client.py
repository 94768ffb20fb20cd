"""The guarded client against strangers: addresses, redirects, limits, time, TLS. Real sockets on loopback."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from datetime import UTC
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mastomend.demo.fediverse import Fediverse, Manners, Origin
from mastomend.demo.pictures import picture
from mastomend.remote.asking import Ask, Failure, Fetched, NotFetched
from mastomend.remote.client import GuardedClient, TimeLimits
from mastomend.retry_after import retry_after

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
LIMIT = 1_000_000


class Names(AbstractResolver):
    """Every name resolves to the given addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=a, port=port, family=socket.AF_INET, proto=0, flags=0)
            for a in self.addresses
        ]

    async def close(self) -> None:
        pass


def get(url: str, *, limit: int = LIMIT, **options: object) -> Fetched | NotFetched:
    async def run() -> Fetched | NotFetched:
        options.setdefault("allowed_private", LOOPBACK)
        async with GuardedClient("Mastomend/test", **options) as client:  # type: ignore[arg-type]
            return await client.get(Ask(url, limit))

    return asyncio.run(run())


def failure(answer: Fetched | NotFetched) -> Failure | None:
    return answer.failure if isinstance(answer, NotFetched) else None


def origin(network: Fediverse, manners: Manners = Manners.GOOD) -> Origin:
    made = network.add("o.example", manners)
    made.files["/a"] = picture(1)
    return made


def test_a_body_comes_back_whole(network: Fediverse) -> None:
    made = origin(network)
    answer = get(made.url("/a"))
    assert answer == Fetched(picture(1), made.url("/a"), "application/octet-stream")


def test_private_addresses_are_refused_before_a_request_is_made(network: Fediverse) -> None:
    made = origin(network)
    for url in (
        made.url("/a"),
        f"http://localhost:{made.port}/a",
        f"http://[::1]:{made.port}/a",
        f"http://[::ffff:127.0.0.1]:{made.port}/a",
        "http://10.0.0.1/a",
        "http://169.254.169.254/latest/meta-data",
        "http://x.onion/a",
    ):
        assert failure(get(url, allowed_private=())) is Failure.PRIVATE_ADDRESS, url
    for disguised in (f"http://2130706433:{made.port}/a", f"http://0x7f.1:{made.port}/a"):
        assert failure(get(disguised, allowed_private=())) in (Failure.BAD_URL, Failure.PRIVATE_ADDRESS), disguised
    assert not network.requests


def test_a_name_that_resolves_to_a_private_address_is_refused(network: Fediverse) -> None:
    made = origin(network)
    url = f"http://innocent.example:{made.port}/a"
    assert failure(get(url, allowed_private=(), resolver=Names(made.address))) is Failure.PRIVATE_ADDRESS
    assert isinstance(get(url, resolver=Names("10.0.0.1", made.address)), Fetched), "only the good address is used"


@pytest.mark.parametrize("url", ["", "not a url", "ftp://x/y", "http://", "file:///etc/passwd", "http://[", "//x/y"])
def test_urls_that_are_none(url: str) -> None:
    assert failure(get(url)) is Failure.BAD_URL


@pytest.mark.parametrize(
    ("manners", "wanted"),
    [
        (Manners.GONE, Failure.GONE), (Manners.BROKEN, Failure.SERVER_ERROR), (Manners.LOOPING, Failure.TOO_MANY_REDIRECTS),
        (Manners.PRIVATE_REDIRECT, Failure.PRIVATE_ADDRESS), (Manners.HUGE, Failure.TOO_BIG), (Manners.BOMB, Failure.TOO_BIG),
        (Manners.CUT, Failure.BROKEN_OFF), (Manners.RATE_LIMITED, Failure.RATE_LIMITED), (Manners.REDIRECTING, None),
    ],
)  # fmt: skip
def test_manners(network: Fediverse, manners: Manners, wanted: Failure | None) -> None:
    assert failure(get(origin(network, manners).url("/a"))) is wanted


def test_at_most_three_redirects(network: Fediverse) -> None:
    get(origin(network, Manners.LOOPING).url("/a"))
    assert len(network.requests) == 4


def test_a_declared_length_above_the_limit_is_refused_up_front(network: Fediverse) -> None:
    assert failure(get(origin(network).url("/a"), limit=100)) is Failure.TOO_BIG


def test_silence_ends(network: Fediverse) -> None:
    limits = TimeLimits(silence_s=0.3)
    assert failure(get(origin(network, Manners.HANGING).url("/a"), limits=limits)) is Failure.TIMEOUT


def test_nobody_listens() -> None:
    assert failure(get("http://127.0.0.1:1/a")) is Failure.CONNECT


def test_an_unknown_name(network: Fediverse) -> None:
    class Nothing(Names):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            raise OSError("no such name")

    assert failure(get("http://nowhere.example/a", resolver=Nothing())) is Failure.DNS


def test_tls_is_verified(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self.example")])
    now = datetime.datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = tmp_path / "pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async def run(trusted: object) -> Fetched | NotFetched:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        async with GuardedClient("Mastomend/test", LOOPBACK, ssl=trusted) as client:
            found = await client.get(Ask(f"https://127.0.0.1:{port}/a", LIMIT))
        server.close()
        return found

    assert failure(asyncio.run(run(True))) is Failure.TLS
    trusted = ssl.create_default_context(cafile=str(pem))
    assert isinstance(asyncio.run(run(trusted)), Fetched)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), (" 120 ", 120.0), ("Sun, 22 Nov 2026 20:00:30 GMT", 30.0), ("Sun, 22 Nov 2026 19:00:00 GMT", 0.0),
     ("soon", None), ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None), (None, None), ("-1", None)],
)  # fmt: skip
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, datetime.datetime(2026, 11, 22, 20, 0, tzinfo=UTC)) == seconds
