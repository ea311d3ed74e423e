"""A page of a listing is read from XML that is S3's, and from no other."""

from __future__ import annotations

import pytest

from lehr.aws.listing import FolderPage, parse_folders

PAGE = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>projects%2F</Prefix>
<NextContinuationToken>1ue&amp;GcxLPRx1Tr/XYExHnhbYLgveDs2J</NextContinuationToken><IsTruncated>true</IsTruncated>
<Contents><Key>projects%2Ffile</Key></Contents>
<CommonPrefixes><Prefix>projects/a/</Prefix></CommonPrefixes>
<CommonPrefixes><Prefix>projects%2Fa+b%26%3C%01%2F</Prefix></CommonPrefixes></ListBucketResult>"""
BOMB = b"""<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<ListBucketResult><CommonPrefixes><Prefix>&b;</Prefix></CommonPrefixes></ListBucketResult>"""


def test_prefixes_and_the_next_page_are_read_and_nothing_else() -> None:
    assert parse_folders(PAGE) == FolderPage(
        ["projects/a/", "projects/a b&<\x01/"], "1ue&GcxLPRx1Tr/XYExHnhbYLgveDs2J"
    )


def test_the_last_page_names_no_next_one() -> None:
    assert parse_folders(b"<ListBucketResult></ListBucketResult>") == FolderPage([], "")


@pytest.mark.parametrize("raw", [b"", b"{}", PAGE[:-20], BOMB, b"\xff\xfe"], ids=repr)
def test_what_is_no_listing_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="listing of S3"):
        parse_folders(raw)
