"""`Approvals` over the registry table, in partitions of their own, because IAM can tell those apart.

A run asks once for each generation of the champion that it is judged at: one that was judged again asks again.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from lehr.aws.items import from_item, to_item
from lehr.contracts.approval import Approval, ApprovalStatus

_CONDITION_FAILED = "ConditionalCheckFailedException"
PENDING: ApprovalStatus = "PendingManualApproval"


class DynamoApprovals:
    """The approvals of every project in one table; `table` is a boto3 DynamoDB Table resource."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def ask(self, approval: Approval) -> bool:
        """Write what waits; False if it was answered already. Asked again, the newer token counts."""
        return self._put_if(approval, "attribute_not_exists(pk) OR #status = :was", {":was": PENDING})

    def answer(self, approval: Approval, *, was: ApprovalStatus = PENDING) -> bool:
        """Write an answer; False if the question has another status by now, or was asked anew."""
        values = {":was": was, ":token": approval.task_token}
        return self._put_if(approval, "#status = :was AND task_token = :token", values)

    def of_run(self, project: str, run: str) -> Approval | None:
        """The latest that a run has asked for."""
        found = self._query(project, f"{run}#", Limit=1, ScanIndexForward=False)
        return found[0] if found else None

    def of_project(self, project: str) -> list[Approval]:
        """All that the runs of a project have asked for."""
        return self._query(project, "")

    def _put_if(self, approval: Approval, condition: str, values: dict[str, str]) -> bool:
        try:
            self._table.put_item(
                Item=_key(approval) | to_item(approval),
                ConditionExpression=condition,
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=values,
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] != _CONDITION_FAILED:
                raise
            return False
        return True

    def _query(self, project: str, begin: str, **more: Any) -> list[Approval]:
        query: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk" + (" AND begins_with(sk, :begin)" if begin else ""),
            "ExpressionAttributeValues": {":pk": f"approval#{project}"}
            | ({":begin": begin} if begin else {}),
            "ConsistentRead": True,
            **more,
        }
        found: list[Approval] = []
        while True:
            page = self._table.query(**query)
            found += [from_item(item, Approval) for item in page["Items"]]
            if "LastEvaluatedKey" not in page or "Limit" in more:
                return found
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _key(approval: Approval) -> dict[str, str]:
    return {"pk": f"approval#{approval.project}", "sk": f"{approval.run}#{approval.generation:010d}"}
