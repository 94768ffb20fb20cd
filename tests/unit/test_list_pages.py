"""A page of a bucket's listing, as stores write them: however it is spelled, it says the same."""

from __future__ import annotations

import pytest

from mastomend.errors import StorageError
from mastomend.storage.s3_answers import Answer, Page, parse_page

OBJECT = (
    "<Contents><Key>{}</Key><LastModified>2026</LastModified><ETag>&quot;a&quot;</ETag><Size>{}</Size>{}</Contents>"
)


def page(inside: str, *, root: str = "ListBucketResult", more: bool = False, token: str = "") -> Page:
    told = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
    told += f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return parse_page(Answer(200, {}, f"<?xml version='1.0'?><{root}>{told}{inside}</{root.split()[0]}>".encode()))


def test_plain() -> None:
    found = page("".join(OBJECT.format(f"a/{n}", n, "") for n in range(5)), more=True, token="t")
    assert (found.keys, found.sizes) == ([f"a/{n}" for n in range(5)], list(range(5)))
    assert (found.token, found.is_last) == ("t", False)


@pytest.mark.parametrize(
    "inside",
    [
        "<Contents><Size>7</Size><Key>a</Key></Contents><Contents><Key>b</Key><Size>8</Size></Contents>",
        OBJECT.format("a", 7, "<Owner><ID>x</ID><DisplayName/></Owner>") + OBJECT.format("b", 8, "<Owner><ID>y</ID></Owner>"),
        "<Contents>\n  <Key>a</Key>\n  <Size>7</Size>\n</Contents>\n<Contents><Key>b</Key><Size>8</Size></Contents>",
        OBJECT.format("a", 7, "") + "<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>" + OBJECT.format("b", 8, ""),
        OBJECT.format("a", 7, "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>")
        + OBJECT.format("b", 8, "<StorageClass>X</StorageClass>"),
        "<Contents><Key>a</Key><Size>7</Size></Contents>" + OBJECT.format("b", 8, ""),
    ],
)  # fmt: skip
def test_other_spellings_say_the_same(inside: str) -> None:
    for root in ("ListBucketResult", 'ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'):
        found = page(inside, root=root)
        assert (found.keys, found.sizes) == (["a", "b"], [7, 8])
        assert found.folders == (["c/"] if "CommonPrefixes" in inside else [])


@pytest.mark.parametrize(
    ("key", "encoded", "found"),
    [
        ("a&amp;b", "", "a&b"), ("a%2Fb%20c+d", "<EncodingType>url</EncodingType>", "a/b c d"), ("a+b%20c", "", "a+b%20c"),
        ("&#x41;", "", "A"), ("ä%C3%A4", "<EncodingType>url</EncodingType>", "ää"), ("&#x7;x", "", "\ufffdx"),
        ("<![CDATA[a<b]]>", "", "a<b"),
    ],
)  # fmt: skip
def test_keys_are_decoded(key: str, encoded: str, found: str) -> None:
    assert page(encoded + OBJECT.format(key, 1, "")).keys == [found]


def test_what_is_no_page() -> None:
    for body in (b"<html></html>", b"<!DOCTYPE html>", b"welcome", b"{}"):
        with pytest.raises(StorageError):
            parse_page(Answer(200, {}, body))
    whole = f"<ListBucketResult>{OBJECT.format('a', 1, '')}{OBJECT.format('b', 1, '')}</ListBucketResult>".encode()
    for length in (0, 10, len(whole) // 2, len(whole) - 5):
        with pytest.raises(ValueError, match=r"\w"):
            parse_page(Answer(200, {}, whole[:length]))
    with pytest.raises(ValueError, match="not where"):
        page("", more=True)
    with pytest.raises(ValueError, match="instead"):
        parse_page(Answer(200, {}, b"<Error><Code>x</Code></Error>"))
