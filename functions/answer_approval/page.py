"""The page behind the link of a notification. Looking at it does nothing, since mail scanners do: its form acts.

No script, no foreign source; the link's secret is in the path and goes nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import html
from http import HTTPStatus

from lehr.contracts.approval import Approval
from lehr.http.gateway import HTML, Answer

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#222}"
    "dt{color:#666}dd{margin:0 0 .6rem;overflow-wrap:anywhere}"
    "input,textarea{font:inherit;width:100%;box-sizing:border-box;margin:.2rem 0 .8rem;padding:.4rem}"
    "button{font:inherit;padding:.5rem 1.4rem;margin-right:.6rem;border:1px solid #666;border-radius:4px}"
    "button{background:#fff}.approve{background:#14532d;color:#fff}.fault{color:#991b1b}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#eee}dt{color:#aaa}"
    "input,textarea,button{background:#222;color:#eee}.fault{color:#fca5a5}}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


def show_question(approval: Approval, fault: str = "") -> Answer:
    """What is asked, with a form that answers it; `fault` is what was wrong with the answer before."""
    told = f'<p class="fault" role="alert">{html.escape(fault)}</p>' if fault else ""
    body = (
        f"<h1>Promote a model of {html.escape(approval.project)}?</h1>{told}{_facts(approval)}"
        '<form method="post">'
        '<label>Your name<input name="name" maxlength="100" autocomplete="name"></label>'
        "<label>Comment, or the reason of a rejection"
        '<textarea name="comment" maxlength="500" rows="3"></textarea></label>'
        '<button class="approve" name="verdict" value="approve">Approve</button>'
        '<button name="verdict" value="reject">Reject</button></form>'
    )
    return _page(HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK, "Approval", body)


def show_done(title: str, approval: Approval) -> Answer:
    return _page(HTTPStatus.OK, title, f"<h1>{html.escape(title)}</h1>{_facts(approval)}")


def show_refusal(status: HTTPStatus, sentence: str) -> Answer:
    return _page(status, "No answer is taken", f"<h1>No answer is taken</h1><p>{html.escape(sentence)}</p>")


def _facts(approval: Approval) -> str:
    facts = {
        "Run": approval.run,
        "Model version": approval.version,
        "Gate": approval.figures,
        "Answers are taken until": approval.expires_at,
    }
    return (
        "<dl>"
        + "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())
        + "</dl>"
    )


def _page(status: HTTPStatus, title: str, body: str) -> Answer:
    document = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Lehr: {html.escape(title)}</title><style>{_STYLE}</style><main>{body}</main></html>"
    )
    headers = {
        "Content-Type": HTML,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Content-Security-Policy": _POLICY,
        "Referrer-Policy": "no-referrer",
    }
    return {"statusCode": status.value, "headers": headers, "body": document, "isBase64Encoded": False}
