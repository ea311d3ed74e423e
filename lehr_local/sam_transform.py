"""Expand SAM to plain CloudFormation where AWS does it: in CloudFormation, after the upload.

`sam deploy` sends the template with its `Transform` line and its parameters; the service runs the
transform. Here the same translator that AWS publishes (aws-sam-translator) runs in its place.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.transform import transform

from lehr_local.errors import LocalCloudError
from lehr_local.template_file import Template, parse_template

SERVERLESS = "AWS::Serverless-2016-10-31"
LANGUAGE_EXTENSIONS = "AWS::LanguageExtensions"


# Names of AWS managed policies that a SAM `Policies:` list may use without an ARN.
_MANAGED_POLICIES = {
    name: f"arn:aws:iam::aws:policy/{path}{name}"
    for path, name in (
        ("service-role/", "AWSLambdaBasicExecutionRole"),
        ("service-role/", "AWSLambdaDynamoDBExecutionRole"),
        ("service-role/", "AWSLambdaSQSQueueExecutionRole"),
        ("service-role/", "AWSLambdaVPCAccessExecutionRole"),
        ("", "AWSXRayDaemonWriteAccess"),
        ("", "AWSXrayWriteOnlyAccess"),
        ("", "CloudWatchLambdaInsightsExecutionRolePolicy"),
    )
}


class _ManagedPolicies:
    """What the translator asks for names; on AWS it asks IAM."""

    def load(self) -> dict[str, str]:
        return _MANAGED_POLICIES


def transforms_of(template: Mapping[str, Any]) -> list[str]:
    declared = template.get("Transform") or []
    return [declared] if isinstance(declared, str) else list(declared)


def expand(template_text: str, parameters: Mapping[str, Any]) -> Template:
    """The CloudFormation template that AWS would deploy for this text and these parameter values.

    moto asks for the same template several times per deployment, so the result is kept; each caller
    gets its own copy. Raises LocalCloudError with the translator's sentence when SAM refuses it.
    """
    expanded: Template = json.loads(_expand(template_text, json.dumps(dict(parameters), sort_keys=True)))
    return expanded


@functools.lru_cache(maxsize=16)
def _expand(template_text: str, parameters_json: str) -> str:
    template = parse_template(template_text)
    declared = transforms_of(template)
    unknown = [name for name in declared if name not in (SERVERLESS, LANGUAGE_EXTENSIONS)]
    if unknown:
        raise LocalCloudError(f"The local cloud does not simulate the transform {unknown[0]}.")
    if SERVERLESS in declared:
        defaults = {
            name: slot["Default"]
            for name, slot in template.get("Parameters", {}).items()
            if "Default" in slot
        }
        try:
            template = transform(template, {**defaults, **json.loads(parameters_json)}, _ManagedPolicies())
        except InvalidDocumentException as error:
            causes = " ".join(cause.message for cause in error.causes) or error.message
            raise LocalCloudError(f"SAM refuses the template: {causes}") from error
    template.pop("Transform", None)
    # Tags of SAM resources may hold non-string keys' values such as dates; CloudFormation text is JSON.
    return json.dumps(template, default=str)
