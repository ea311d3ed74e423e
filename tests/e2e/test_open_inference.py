"""Triton's own client against the endpoint: metadata and inference, as JSON and as bytes, signed by a plug-in."""

from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from lehr_cli.target import Target as Cloud
from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.workplace import Workplace

with warnings.catch_warnings():
    # gevent's patches are none of ours, and this process uses none of them.
    warnings.simplefilter("ignore")
    from tritonclient.http import (
        InferenceServerClient,
        InferenceServerClientPlugin,
        InferInput,
        InferRequestedOutput,
    )
    from tritonclient.utils import InferenceServerException

TRAINING_JOBS = 1


class Signature(InferenceServerClientPlugin):  # type: ignore[misc]
    """Signs the next request. A plug-in is shown headers only, so that it is told method, path and body before."""

    def __init__(self, cloud: Cloud, url: str) -> None:
        self._cloud, self._url = cloud, url
        self.next: tuple[str, str, bytes | None] = ("GET", "/", None)

    def __call__(self, request: Any) -> None:
        method, path, body = self.next
        asked = AWSRequest(method=method, url=self._url + path, data=body)
        SigV4Auth(self._cloud.session.get_credentials(), "execute-api", self._cloud.region).add_auth(asked)
        request.headers.update(dict(asked.headers.items()))


@pytest.fixture(scope="module")
def project(workplace: Workplace) -> str:
    """A project whose model was promoted."""
    name = workplace.project("protocol")
    assert workplace.lehr("push", str(write_project(workplace.folder / name, name))).code == 0
    data = write_data(workplace.folder / "data-protocol", 400)
    assert workplace.lehr("train", name, "--data", str(data)).code == 0
    return name


@pytest.fixture(scope="module")
def client(workplace: Workplace) -> Iterator[Any]:
    authority = workplace.cloud.ca_file or os.environ.get("AWS_CA_BUNDLE")
    address = urlsplit(workplace.outputs()["EndpointUrl"]).netloc
    with InferenceServerClient(
        address, ssl=True, ssl_context_factory=lambda: ssl.create_default_context(cafile=authority)
    ) as found:
        yield found


@pytest.fixture
def signature(client: Any, workplace: Workplace) -> Iterator[Signature]:
    found = Signature(workplace.cloud, workplace.outputs()["EndpointUrl"])
    client.register_plugin(found)
    yield found
    client.unregister_plugin()


def test_probes_need_no_signature(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()


def test_nothing_else_is_answered_without_one(client: Any, project: str) -> None:
    with pytest.raises(InferenceServerException, match="403"):
        client.get_model_metadata(project)


def test_the_client_reads_the_metadata(client: Any, signature: Signature, project: str) -> None:
    signature.next = ("GET", "/v2", None)
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    signature.next = ("GET", f"/v2/models/{project}", None)
    metadata = client.get_model_metadata(project)
    assert (metadata["name"], metadata["platform"]) == (project, "onnxruntime_onnx")
    assert metadata["inputs"][0]["shape"] == [-1, 28, 28]
    version = metadata["versions"][0]
    signature.next = ("GET", f"/v2/models/{project}/versions/{version}/ready", None)
    assert client.is_model_ready(project, version)
    signature.next = ("GET", f"/v2/models/{project}/versions/other/ready", None)
    assert not client.is_model_ready(project, "other")


@pytest.mark.parametrize("is_binary", [True, False], ids=["bytes", "JSON"])
def test_the_client_gets_predictions(
    client: Any, signature: Signature, project: str, is_binary: bool
) -> None:
    signature.next = ("GET", f"/v2/models/{project}", None)
    metadata = client.get_model_metadata(project)
    tensor = InferInput(metadata["inputs"][0]["name"], [3, 28, 28], "UINT8")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    tensor.set_data_from_numpy(pixels, binary_data=is_binary)
    name = metadata["outputs"][0]["name"]
    outputs = [InferRequestedOutput(name, binary_data=is_binary)]
    asked: dict[str, Any] = {"outputs": outputs, "request_id": "seven"}
    body, _ = InferenceServerClient.generate_request_body([tensor], **asked)
    signature.next = ("POST", f"/v2/models/{project}/infer", bytes(body))
    result = client.infer(project, [tensor], **asked)
    response = result.get_response()
    assert (response["id"], response["model_version"]) == ("seven", metadata["versions"][0])
    probabilities = result.as_numpy(name)
    assert probabilities.shape == (3, 10)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)
    assert ("binary_data_size" in response["outputs"][0].get("parameters", {})) == is_binary


def test_the_client_understands_a_refusal(client: Any, signature: Signature, project: str) -> None:
    tensor = InferInput("nonsense", [1, 28, 28], "UINT8")
    tensor.set_data_from_numpy(np.zeros((1, 28, 28), np.uint8))
    body, _ = InferenceServerClient.generate_request_body([tensor])
    signature.next = ("POST", f"/v2/models/{project}/infer", bytes(body))
    with pytest.raises(InferenceServerException, match=r"inputs\[0\]\.name"):
        client.infer(project, [tensor])
