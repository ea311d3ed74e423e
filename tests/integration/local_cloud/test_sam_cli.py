"""The SAM CLI itself against the local cloud: what it builds we pack alike, what it deploys comes up."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from lehr_local.packaging import zip_function, zip_layer
from lehr_local.settings import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.integration.local_cloud.template_cloud import APPLICATION, PROJECT, running_cloud

SAM = shutil.which("sam") or str(PROJECT / ".venv-sam/bin/sam")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(SAM).exists(), reason="the SAM CLI is not installed"),
]


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """The fixture application without its requirements, for the Python at hand: `sam build` needs no network."""
    folder = tmp_path / "application"
    shutil.copytree(APPLICATION, folder)
    for requirements in folder.rglob("requirements.txt"):
        requirements.write_text("")
    template = folder / "template.yaml"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    template.write_text(template.read_text().replace("python3.13", version))
    return folder


def sam(folder: Path, *arguments: str, endpoint_url: str = "") -> str:
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "SAM_CLI_TELEMETRY": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **({"AWS_ENDPOINT_URL": endpoint_url} if endpoint_url else {}),
    }
    done = subprocess.run(
        [SAM, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def names(content: bytes) -> set[str]:
    return set(zipfile.ZipFile(io.BytesIO(content)).namelist())


def test_our_packages_hold_what_sam_build_makes(application: Path) -> None:
    sam(application, "build")
    built = application / ".aws-sam/build"
    function = zip_function(application / "functions/echo", "functions.echo")
    assert names(function) == files_below(built / "EchoFunction")
    layer = names(zip_layer(application / "layers/core", is_built=True))
    # SAM ships the tests and the project files of a layer as well.
    assert layer < files_below(built / "CoreLayer")
    extra = {name.split("/")[1] for name in files_below(built / "CoreLayer") - layer}
    assert extra == {"tests", "pyproject.toml", "requirements.txt"}


def test_sam_deploy_creates_updates_and_deletes_the_stack(application: Path, tmp_path: Path) -> None:
    with running_cloud(tmp_path / "state") as cloud:
        endpoint_url = cloud.settings.endpoint_url
        cloud.client("s3").create_bucket(Bucket="sam-artifacts")
        functions = cloud.client("lambda")
        deployment = (
            *("deploy", "--stack-name", "viasam", "--s3-bucket", "sam-artifacts", "--no-confirm-changeset"),
            *("--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"),
        )
        sam(application, "build")
        assert "https://localhost:" in sam(application, *deployment, endpoint_url=endpoint_url)
        first = functions.get_function_configuration(FunctionName="viasam-echo")

        (application / "functions/echo/app.py").write_text("def handler(event, context):\n    return 2\n")
        sam(application, "build")
        sam(application, *deployment, endpoint_url=endpoint_url)
        second = functions.get_function_configuration(FunctionName="viasam-echo")
        assert first["CodeSha256"] != second["CodeSha256"]

        sam(application, "delete", "--stack-name", "viasam", "--no-prompts", endpoint_url=endpoint_url)
        with pytest.raises(ClientError, match="does not exist"):
            cloud.client("cloudformation").describe_stacks(StackName="viasam")
