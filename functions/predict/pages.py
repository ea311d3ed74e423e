"""What a browser is shown: the page at /, the page of the API at /docs, and the description that both are made from.

Each page is one answer with its script and style inside, allowed by their hashes and by nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from lehr.http.gateway import JSON, Answer, Request, text_answer

HTML = "text/html; charset=utf-8"
_HERE = Path(__file__).parent
_CACHE = "public, max-age=300"


def show_page(request: Request, services: Any) -> Answer:
    return _page("page.html")


def show_docs(request: Request, services: Any) -> Answer:
    return _page("docs.html")


def show_openapi(request: Request, services: Any) -> Answer:
    return text_answer(_read("openapi.json"), JSON, Cache_Control=_CACHE)


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _page(name: str) -> Answer:
    html, policy = _with_policy(name)
    return text_answer(
        html, HTML, Cache_Control=_CACHE, Content_Security_Policy=policy, Referrer_Policy="no-referrer"
    )


@cache
def _with_policy(name: str) -> tuple[str, str]:
    """The page with its files put in, and the policy that allows exactly them."""
    html = _read(f"static/{name}")
    html = re.sub(
        r"<style src=\"([a-z.]+)\"></style>", lambda found: f"<style>{_part(found[1])}</style>", html
    )
    html = re.sub(
        r"<script src=\"([a-z.]+)\"></script>", lambda found: f"<script>{_part(found[1])}</script>", html
    )
    scripts = (
        " ".join(_hash(text) for text in re.findall(r"<script>(.*?)</script>", html, re.DOTALL)) or "'none'"
    )
    styles = (
        " ".join(_hash(text) for text in re.findall(r"<style>(.*?)</style>", html, re.DOTALL)) or "'none'"
    )
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; connect-src 'self'; img-src blob: data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def _part(name: str) -> str:
    return _read(f"static/{name}")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
