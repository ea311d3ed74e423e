"""One page of S3's ListObjectsV2 with a delimiter: the address to ask for it, and the names in its XML.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote, unquote_plus
from xml.parsers import expat

# A thousand names of a thousand bytes each, percent-encoded, and what stands around them.
MAX_PAGE_BYTES = 4 << 20
_COMMON_PREFIX = ("ListBucketResult", "CommonPrefixes", "Prefix")
_TOKEN = ("ListBucketResult", "NextContinuationToken")


@dataclass
class FolderPage:
    """The prefixes of one page, and what asks for the next one; empty for the last."""

    prefixes: list[str] = field(default_factory=list)
    next_token: str = ""


def folders_query(prefix: str, token: str) -> str:
    """The query, its parameters in the order in which they are signed. Names come back percent-encoded."""
    parameters = {
        "continuation-token": token,
        "delimiter": "/",
        "encoding-type": "url",
        "list-type": "2",
        "prefix": prefix,
    }
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items() if value)


def parse_folders(raw: bytes) -> FolderPage:
    """The page of a whole answer. Raises ValueError for what is no such XML, or declares a document type."""
    page, path, text = FolderPage(), list[str](), list[str]()

    def start(name: str, _: dict[str, str]) -> None:
        path.append(name)
        text.clear()

    def end(_: str) -> None:
        if tuple(path) == _COMMON_PREFIX:
            page.prefixes.append(unquote_plus("".join(text)))
        elif tuple(path) == _TOKEN:
            page.next_token = "".join(text)
        path.pop()
        text.clear()

    def refuse(*_: object) -> None:
        raise ValueError("a listing of S3 has no document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text.append, refuse
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as fault:
        raise ValueError(f"no listing of S3: {fault}") from fault
    return page
