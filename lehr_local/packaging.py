"""What `sam build` and `sam package` do to a template, with boto3 only.

Each local path of the template becomes an object in a bucket, named by the hash of its content, and the template that
names those objects is what CloudFormation gets. The layout inside the zips is SAM's own: a function's folder at the
root, or below its parent packages; a layer below `python/`.

One thing is left out on purpose. SAM installs `requirements.txt` into the zip; here the handlers run on this
machine's interpreter, whose environment already has those packages, built for this machine and not for Lambda's.
"""

from __future__ import annotations

import copy
import fnmatch
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from lehr_local.errors import LocalCloudError
from lehr_local.template_file import Template, parse_document

# (bytes, file suffix) -> object key
Upload = Callable[[bytes, str], str]

# What SAM's Python builder leaves out (aws-lambda-builders 1.67.0, PythonPipWorkflow.EXCLUDED_FILES).
EXCLUDED = (
    ".aws-sam",
    ".chalice",
    ".git",
    ".gitignore",
    "*.pyc",
    "__pycache__",
    "*.so",
    ".Python",
    "*.egg-info",
    "*.egg",
    "pip-log.txt",
    "pip-delete-this-directory.txt",
    "htmlcov",
    ".tox",
    ".nox",
    ".coverage",
    ".cache",
    ".pytest_cache",
    ".python-version",
    ".mypy_cache",
    ".dmypy.json",
    ".pyre",
    ".env",
    ".venv",
    "venv",
    "venv.bak",
    "env.bak",
    "ENV",
    "env",
    ".vscode",
    ".idea",
)
# A function that SAM builds by make has these beside its code.
EXCLUDED_FROM_FUNCTIONS = ("Makefile",)
# A layer folder is also a Python distribution; what serves only pip, make or the tests stays at home.
EXCLUDED_FROM_LAYERS = (
    "tests",
    ".ruff_cache",
    "build",
    "dist",
    "pyproject.toml",
    "requirements*.txt",
    "Makefile",
    "Dockerfile*",
    "stock_images.py",
    "README.md",
)

# Same bytes for the same files, whenever and wherever they are zipped.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def package(template: Template, folder: Path, upload: Upload, bucket: str) -> Template:
    """`template` with every local path replaced by an object that `upload` stored in `bucket`.

    Paths are relative to `folder`. Raises LocalCloudError, naming the resource and the path, for one that is missing.
    """
    packaged = copy.deepcopy(template)
    defaults = packaged.get("Globals", {}).get("Function", {})
    for logical_id, resource in packaged["Resources"].items():
        properties = resource.setdefault("Properties", {})
        type_name = resource["Type"]
        if type_name == "AWS::Serverless::Function":
            location = properties.get("CodeUri", defaults.get("CodeUri"))
            if isinstance(location, str) and not location.startswith("s3://"):
                source = _existing(folder / location, logical_id, "CodeUri", location)
                key = upload(zip_function(source, _parent_packages(resource)), ".zip")
                properties["CodeUri"] = {"Bucket": bucket, "Key": key}
        elif type_name in ("AWS::Serverless::LayerVersion", "AWS::Lambda::LayerVersion"):
            name = "ContentUri" if type_name == "AWS::Serverless::LayerVersion" else "Content"
            location = properties.get(name)
            if isinstance(location, str) and not location.startswith("s3://"):
                source = _existing(folder / location, logical_id, name, location)
                is_built = "BuildMethod" in resource.get("Metadata", {})
                key = upload(zip_layer(source, is_built=is_built), ".zip")
                names = ("Bucket", "Key") if name == "ContentUri" else ("S3Bucket", "S3Key")
                properties[name] = dict(zip(names, (bucket, key), strict=True))
        elif type_name == "AWS::Serverless::StateMachine":
            location = properties.get("DefinitionUri")
            if isinstance(location, str) and not location.startswith("s3://"):
                source = _existing(folder / location, logical_id, "DefinitionUri", location)
                key = upload(definition_json(source, logical_id), ".json")
                properties["DefinitionUri"] = {"Bucket": bucket, "Key": key}
    return packaged


def zip_function(source: Path, parent_packages: str = "") -> bytes:
    """A function's zip: its folder (or single file) below the parent packages, which get no files of their own."""
    prefix = "".join(f"{name}/" for name in parent_packages.split(".") if name)
    return _zip({prefix + name: path for name, path in _files(source, EXCLUDED + EXCLUDED_FROM_FUNCTIONS)})


def zip_layer(source: Path, *, is_built: bool) -> bytes:
    """A layer's zip: the packages of its folder below `python/`, or the folder as it is when SAM would not build it."""
    if not is_built:
        return _zip(dict(_files(source, ("__pycache__", "*.pyc"))))
    return _zip({f"python/{name}": path for name, path in _files(source, EXCLUDED + EXCLUDED_FROM_LAYERS)})


def definition_json(source: Path, logical_id: str) -> bytes:
    """An Amazon States Language file as JSON, whether it was written as JSON or as YAML."""
    try:
        definition = parse_document(source.read_text())
    except yaml.YAMLError as error:
        raise LocalCloudError(
            f"The definition of {logical_id}, {source}, is neither YAML nor JSON: {' '.join(str(error).split())}."
        ) from error
    return json.dumps(definition, indent=1).encode()


def object_key(content: bytes, suffix: str) -> str:
    return hashlib.sha256(content).hexdigest() + suffix


def _parent_packages(resource: dict[str, Any]) -> str:
    build = resource.get("Metadata", {}).get("BuildProperties", {})
    if build.get("ParentPackageMode") == "explicit":
        return str(build.get("ParentPackages", ""))
    return ""


def _existing(path: Path, logical_id: str, property_name: str, location: str) -> Path:
    if not path.exists():
        raise LocalCloudError(
            f"{logical_id} names {location} as its {property_name}, but {path} does not exist.",
            "Paths in a template are relative to the template's folder.",
        )
    return path


def _files(source: Path, excluded: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """(name in the zip, file) of every file that counts, at any depth."""
    if source.is_file():
        yield source.name, source
        return
    for path in sorted(source.iterdir()):
        if any(fnmatch.fnmatch(path.name, pattern) for pattern in excluded):
            continue
        if path.is_dir():
            for name, file in _files(path, excluded):
                yield f"{path.name}/{name}", file
        else:
            yield path.name, path


def _zip(files: dict[str, Path]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # Lambda's user must be able to read it; an executable (a bootstrap) must stay one.
            entry.external_attr = (0o755 if files[name].stat().st_mode & 0o100 else 0o644) << 16
            bundle.writestr(entry, files[name].read_bytes())
    return archive.getvalue()
