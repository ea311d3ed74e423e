"""A comparison as one HTML file that needs nothing else: no script, no server, no network."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from lehr_cli.comparison import Comparison, Row

_STYLE = """
:root { --ink: #1d2129; --dim: #626b78; --page: #fbfbfa; --card: #fff; --rule: #e2e4e8; --good: #1a7f4b }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --dim: #98a1b0; --page: #14161a; --card: #1c1f25;
  --rule: #31363f; --good: #54c98a } }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.3rem; overflow-wrap: anywhere } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem }
.box { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: .4rem 1rem;
  overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem }
th { text-align: left; color: var(--dim); font-weight: 600 } td, th { padding: .34rem .8rem .34rem 0;
  vertical-align: top; border-bottom: 1px solid var(--rule); overflow-wrap: anywhere }
tr:last-child td { border-bottom: 0 }
td:first-child { color: var(--dim); width: 24% } .same td { color: var(--dim) }
.good { color: var(--good); font-weight: 700 }
"""


def page_of(found: Comparison) -> str:
    """The page. Every string of a user or a model is escaped."""
    title = f"{escape(found.a)} and {escape(found.b)}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
            *_sections(found),
            "</body>\n</html>\n",
        ]
    )


def _sections(found: Comparison) -> Iterator[str]:
    for section in found.sections:
        yield f'<h2>{escape(section.title)}</h2>\n<div class="box"><table>'
        yield f"<tr><th></th><th>{escape(found.a)}</th><th>{escape(found.b)}</th><th>difference</th></tr>"
        yield from (_row(row) for row in section.rows)
        yield "</table></div>"


def _row(row: Row) -> str:
    cells = [
        f"<td{_mark(row, side)}>{escape(text) or '-'}</td>" for side, text in (("a", row.a), ("b", row.b))
    ]
    kind = ' class="same"' if row.is_same else ""
    return f"<tr{kind}><td>{escape(row.name)}</td>{''.join(cells)}<td>{escape(row.difference)}</td></tr>"


def _mark(row: Row, side: str) -> str:
    return ' class="good"' if row.better == side else ""
