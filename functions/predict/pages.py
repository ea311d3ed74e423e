"""What a browser is shown: the page at /, Swagger UI at /docs with its files, and the description of the API.

The page at / is one answer with its script and style inside, allowed by their hashes and by nothing else. That of the
API has files beside it, because Swagger UI is 1.7 MB of script: it is kept compressed, and read when it is asked for.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from lehr.http.gateway import CSS, HTML, JAVASCRIPT, JSON, Answer, Request, binary_answer, text_answer
from lehr.http.problems import Problem

# docs/fetch_swagger_ui.py writes those of Swagger UI; their names have its version, so that they never change.
ASSETS = {
    "docs.css": CSS,
    "docs.js": JAVASCRIPT,
    "signature.js": JAVASCRIPT,
    "swagger-ui-5.35.0.css": CSS,
    "swagger-ui-5.35.0.js": JAVASCRIPT,
}
_HERE = Path(__file__).parent
_CACHE, _FOR_EVER = "public, max-age=300", "public, max-age=31536000, immutable"
# Swagger UI has pictures in its style sheet, as data. It sets styles by script only, which 'self' allows.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def show_page(request: Request, services: Any) -> Answer:
    return _page(*_with_policy("page.html"))


def show_docs(request: Request, services: Any) -> Answer:
    return _page(_read("static/docs.html"), _DOCS_POLICY)


def show_asset(request: Request, services: Any) -> Answer:
    """A file of the page of the API. Raises Problem (404) for a name that is none of ASSETS."""
    name = request.variables["file"]
    if name not in ASSETS:
        raise Problem(HTTPStatus.NOT_FOUND, "unknown-file", "The page of the API has no such file.")
    packed = _HERE / "static" / f"{name}.gz"
    if not packed.exists():
        return text_answer(_read(f"static/{name}"), ASSETS[name], Cache_Control=_CACHE)
    headers = {
        "Content-Type": ASSETS[name],
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": _FOR_EVER,
        "Vary": "Accept-Encoding",
    }
    raw = packed.read_bytes()
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        import gzip

        raw = gzip.decompress(raw)
    return binary_answer(raw, headers)


def show_openapi(request: Request, services: Any) -> Answer:
    return text_answer(_read("openapi.json"), JSON, Cache_Control=_CACHE)


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _page(html: str, policy: str) -> Answer:
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
