"""What `sam build` and `sam package` would have made of a template, made without them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from lehr_local.errors import LocalCloudError
from lehr_local.packaging import object_key, package, zip_function, zip_layer
from lehr_local.template_file import Template, parse_template
from tests.integration.local_cloud.template_cloud import APPLICATION


def packaged(folder: Path) -> tuple[Template, dict[str, bytes]]:
    stored: dict[str, bytes] = {}

    def upload(content: bytes, suffix: str) -> str:
        key = object_key(content, suffix)
        stored[key] = content
        return key

    template = parse_template((folder / "template.yaml").read_text())
    return package(template, folder, upload, "artifacts"), stored


def names(content: bytes) -> list[str]:
    return sorted(zipfile.ZipFile(io.BytesIO(content)).namelist())


def test_a_function_lies_below_its_parent_packages_as_sam_lays_it_out() -> None:
    template, stored = packaged(APPLICATION)
    code = template["Resources"]["EchoFunction"]["Properties"]["CodeUri"]
    assert code["Bucket"] == "artifacts"
    # SAM makes the parents as folders only; Python finds `functions` as a namespace package.
    assert names(stored[code["Key"]]) == ["functions/echo/__init__.py", "functions/echo/app.py"]


def test_requirements_are_left_to_the_interpreters_environment() -> None:
    template, stored = packaged(APPLICATION)
    key = template["Resources"]["StartRunFunction"]["Properties"]["CodeUri"]["Key"]
    assert names(stored[key]) == ["functions/start_run/app.py", "functions/start_run/requirements.txt"]


def test_a_layer_holds_its_packages_and_not_what_only_pip_and_tests_need() -> None:
    template, stored = packaged(APPLICATION)
    key = template["Resources"]["CoreLayer"]["Properties"]["ContentUri"]["Key"]
    assert names(stored[key]) == ["python/greeting/__init__.py"]


def test_a_layer_that_sam_would_not_build_is_zipped_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "python/module.py").write_text("")
    assert names(zip_layer(tmp_path, is_built=False)) == ["python/module.py"]


def test_a_definition_in_yaml_is_stored_as_json_with_its_placeholders() -> None:
    template, stored = packaged(APPLICATION)
    key = template["Resources"]["Retrain"]["Properties"]["DefinitionUri"]["Key"]
    definition = json.loads(stored[key])
    assert definition["States"]["Greet"]["Parameters"]["FunctionName"] == "${EchoFunctionArn}"


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("pass\n")
    first = zip_function(tmp_path)
    os.utime(tmp_path / "app.py", (1, 1))
    assert zip_function(tmp_path) == first
    (tmp_path / "app.py").write_text("pass  \n")
    assert zip_function(tmp_path) != first


def test_caches_environments_and_compiled_files_stay_at_home(tmp_path: Path) -> None:
    for name in ("app.py", "sub/__pycache__/a.pyc", ".venv/b.py", "x.egg-info/c", "native.so", "sub/d.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert names(zip_function(tmp_path)) == ["app.py", "sub/d.json"]


def test_locations_that_are_uploaded_already_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(
        "Transform: AWS::Serverless-2016-10-31\n"
        "Resources:\n"
        "  Function:\n"
        "    {Type: AWS::Serverless::Function, Properties: {CodeUri: s3://bucket/key}}\n"
        "  Inline:\n"
        "    {Type: AWS::Serverless::Function, Properties: {InlineCode: pass}}\n"
    )
    template, stored = packaged(tmp_path)
    assert template["Resources"]["Function"]["Properties"]["CodeUri"] == "s3://bucket/key"
    assert stored == {}


def test_a_missing_folder_is_one_sentence_with_resource_and_path(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(
        "Resources: {Predict: {Type: AWS::Serverless::Function, Properties: {CodeUri: functions/predict}}}"
    )
    with pytest.raises(
        LocalCloudError, match=f"Predict names functions/predict as its CodeUri, but {tmp_path}"
    ):
        packaged(tmp_path)


def test_a_definition_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "machine.yaml").write_text("StartAt: [")
    (tmp_path / "template.yaml").write_text(
        "Resources: {M: {Type: AWS::Serverless::StateMachine, Properties: {DefinitionUri: machine.yaml}}}"
    )
    with pytest.raises(LocalCloudError, match=r"The definition of M, .*machine\.yaml, is neither"):
        packaged(tmp_path)
