"""Whether the trainer's image is where training jobs pull it from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from lehr_cli.check_stack import outputs_of
from lehr_cli.findings import Finding, not_here
from lehr_cli.target import Target

STOCK_REPOSITORY = "pytorch-training"
_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<rest>.+)"
)


def check_image(target: Target, stack: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the trainer's image is where a training job will pull it from."""
    check = "trainer image"
    if target.endpoint_url:
        yield not_here(check)
        return
    uri = outputs_of(stack).get("TrainerImage", "")
    if not uri:
        return
    push = "docs/deploy.md has the commands that build and push it"
    parts = _IMAGE.fullmatch(uri)
    if parts is None:
        yield Finding(
            check=check,
            status="fail",
            saw=f"{uri} names no registry",
            meaning=f"SageMaker pulls from ECR only; {push}",
            command="sam deploy --parameter-overrides TrainerImageUri=<account>.dkr.ecr.<region>.amazonaws.com/…",
        )
        return
    if parts["region"] != target.region:
        yield Finding(
            check=check,
            status="fail",
            saw=f"{uri} is in {parts['region']}, the stack in {target.region}",
            meaning=f"SageMaker pulls from its own region only; {push}",
        )
        return
    repository, _, tag = parts["rest"].partition(":")
    if repository == STOCK_REPOSITORY:
        yield _stock_image(target, uri, parts["account"], tag)
        return
    yield _own_image(target, uri, parts["account"], parts["rest"], push)


def _stock_image(target: Target, uri: str, account: str, tag: str) -> Finding:
    """AWS lets everybody pull its containers, and nobody list them: so one manifest is asked for."""
    answer = target.client("ecr").batch_get_image(
        registryId=account, repositoryName=STOCK_REPOSITORY, imageIds=[{"imageTag": tag}]
    )
    if answer.get("images"):
        return Finding(check="trainer image", status="ok", saw=f"{uri}, the PyTorch container of AWS")
    reasons = ", ".join(failure.get("failureCode", "?") for failure in answer.get("failures", []))
    return Finding(
        check="trainer image",
        status="fail",
        saw=f"{uri}: {reasons or 'not there'}",
        meaning="AWS has no such container in this region; an image of your own takes its place (docs/deploy.md)",
        command="sam deploy --parameter-overrides BuildTrainerImage=yes && lehr image build",
    )


def _own_image(target: Target, uri: str, account: str, rest: str, push: str) -> Finding:
    repository, _, digest = rest.partition("@")
    if digest:
        image = {"imageDigest": digest}
    else:
        repository, _, tag = rest.partition(":")
        image = {"imageTag": tag or "latest"}
    try:
        found = target.client("ecr").describe_images(
            registryId=account, repositoryName=repository, imageIds=[image]
        )["imageDetails"][0]
    except ClientError as fault:
        code = fault.response["Error"]["Code"]
        if code not in {"RepositoryNotFoundException", "ImageNotFoundException"}:
            raise
        return Finding(
            check="trainer image",
            status="fail",
            saw=f"{uri} is not in ECR",
            meaning=f"a training job would fail while it pulls; {push}",
            command=f"aws ecr create-repository --repository-name {repository} --region {target.region}"
            if code == "RepositoryNotFoundException"
            else f"docker push {uri}",
        )
    return Finding(
        check="trainer image", status="ok", saw=f"{uri}, {found.get('imageSizeInBytes', 0) / 1e9:.1f} GB"
    )
