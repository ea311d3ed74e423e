"""Read CloudFormation text: YAML with its short tags, or JSON, into plain data with long intrinsics.

The server (which receives a template) and the packager (which rewrites one) must agree on what
`!GetAtt A.B` means, so they read through this one function.
"""

from __future__ import annotations

from typing import Any

import yaml

from lehr_local.errors import LocalCloudError

Template = dict[str, Any]

_WITHOUT_PREFIX = {"Ref", "Condition"}


class _CloudFormationLoader(yaml.SafeLoader):  # type: ignore[misc]
    """A loader of its own, so that tags are not registered on PyYAML's global classes."""


# CloudFormation knows no dates: `Version: 2012-10-17` is text, quoted or not.
_CloudFormationLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _construct_intrinsic(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in _WITHOUT_PREFIX else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        text = loader.construct_scalar(node)
        return {name: str(text).split(".", 1) if suffix == "GetAtt" else text}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_CloudFormationLoader.add_multi_constructor("!", _construct_intrinsic)


def parse_document(text: str) -> Any:
    """Any YAML or JSON document as plain data. Raises yaml.YAMLError."""
    # The loader is a SafeLoader: it builds plain data only.
    return yaml.load(text, Loader=_CloudFormationLoader)  # noqa: S506


def parse_template(text: str) -> Template:
    """The template as plain data; `Fn::GetAtt` is always the list form.

    Raises LocalCloudError when the text is no template.
    """
    try:
        document = parse_document(text)
    except yaml.YAMLError as error:
        raise LocalCloudError(f"The template is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise LocalCloudError("The template has no Resources section.")
    for logical_id, resource in document["Resources"].items():
        if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
            raise LocalCloudError(f"Resource {logical_id} has no Type.")
    normalised: Template = _with_list_attributes(document)
    return normalised


def _with_list_attributes(node: Any) -> Any:
    """The long YAML form and JSON also allow `Fn::GetAtt: A.B` as text; moto knows the list only."""
    if isinstance(node, dict):
        return {
            key: value.split(".", 1)
            if key == "Fn::GetAtt" and isinstance(value, str)
            else _with_list_attributes(value)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_with_list_attributes(item) for item in node]
    return node
