"""What `lehr doctor` finds: one sentence for each check, what it means, and the command that puts it right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

Status = Literal["ok", "warn", "fail", "not_checked"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`saw` is what there is; `meaning` what follows from it; `command` what to type, if anything."""

    check: str
    status: Status
    saw: str
    meaning: str = ""
    command: str = ""

    def to_line(self) -> dict[str, Any]:
        return {"event": "finding"} | asdict(self)


def not_here(check: str) -> Finding:
    """For a check whose question a local cloud cannot answer."""
    return Finding(check=check, status="not_checked", saw="not checked here: only AWS can answer")


def carefully(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What `look` finds; a question that may not be asked, or is not answered, is a finding and no error."""
    try:
        yield from look()
    except ClientError as fault:
        code = fault.response["Error"]["Code"]
        if is_denied(code):
            yield Finding(
                check=check,
                status="not_checked",
                saw=f"not checked: these credentials may not call {fault.operation_name}",
                meaning="it may be right or wrong; someone with more permissions can look",
            )
        else:
            yield Finding(
                check=check, status="not_checked", saw=f"not checked: {fault.operation_name} answered {code}"
            )
    except BotoCoreError as fault:
        yield Finding(check=check, status="not_checked", saw=f"not checked: {fault}")


def is_denied(code: str) -> bool:
    return "AccessDenied" in code or code in {
        "UnauthorizedOperation",
        "AuthorizationError",
        "403",
        "Forbidden",
    }
