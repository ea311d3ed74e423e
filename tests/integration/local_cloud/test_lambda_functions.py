"""Functions in the local cloud: deployed through the ordinary API, run by real processes."""

from __future__ import annotations

import base64
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.predict.capture import MAX_LINE_BYTES
from lehr_local import async_invocations, emulator, function_code, function_pool
from lehr_local.emulator import InvocationResult, find_emulator
from lehr_local.errors import LocalCloudError
from lehr_local.function_pool import FunctionPool, Throttled
from tests.integration.local_cloud.functions_cloud import ROLE, FunctionsCloud, eventually, zipped

ECHO = "def handler(event, context):\n    return event\n"


def test_a_function_answers_with_what_its_handler_returns(cloud: FunctionsCloud) -> None:
    cloud.function("echo", ECHO)
    assert cloud.call("echo", {"a": [1, "ü"]}) == ({"a": [1, "ü"]}, None)


def test_the_runtime_object_invokes_by_name_and_by_arn(cloud: FunctionsCloud) -> None:
    cloud.function("direct", ECHO)
    for name in ("direct", "arn:aws:lambda:us-east-1:123456789012:function:direct"):
        result = cloud.runtime.invoke(name, b'{"x": 1}')
        assert (json.loads(result.payload), result.error) == ({"x": 1}, None)
    with pytest.raises(LocalCloudError, match="no function 'absent'"):
        cloud.runtime.invoke("absent", b"{}")


def test_a_function_has_its_own_variables_its_layers_and_nothing_of_the_host(
    cloud: FunctionsCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    layer = cloud.client("lambda").publish_layer_version(
        LayerName="words", Content={"ZipFile": zipped({"python/layer_words.py": "WORD = 'from the layer'"})}
    )
    code = (
        "import os, tempfile, layer_words\n"
        "def handler(event, context):\n"
        "    open(os.path.join(tempfile.gettempdir(), 'x'), 'w').close()\n"
        "    return {'env': dict(os.environ), 'word': layer_words.WORD, 'cwd': os.getcwd(),\n"
        "            'name': context.function_name, 'left': context.get_remaining_time_in_millis()}\n"
    )
    cloud.function(
        "clean",
        code,
        Layers=[layer["LayerVersionArn"]],
        Environment={"Variables": {"MINE": "yes"}},
        MemorySize=256,
    )
    answer, error = cloud.call("clean")
    assert error is None
    env = answer["env"]
    assert answer["word"] == "from the layer"
    assert answer["name"] == "clean"
    assert 15_000 < answer["left"] <= 20_000
    assert env["MINE"] == "yes"
    assert env["LAMBDA_TASK_ROOT"] == answer["cwd"]
    assert env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert env["AWS_ENDPOINT_URL"] == cloud.settings.endpoint_url
    assert env["HOME"].startswith(str(cloud.settings.state_dir))
    allowed = ("AWS_", "LAMBDA_", "_HANDLER", "_LAMBDA", "_X_AMZN")
    others = {name for name in env if not name.startswith(allowed)}
    assert others <= {
        *(
            "MINE",
            "HOME",
            "LANG",
            "LC_CTYPE",
            "PATH",
            "PYTHONPATH",
            "TMPDIR",
            "TZ",
            "POWERTOOLS_TRACE_DISABLED",
        ),
        "PWD",
    }


def test_a_function_reaches_the_services_of_the_local_cloud(cloud: FunctionsCloud) -> None:
    cloud.client("s3").create_bucket(Bucket="reached")
    code = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    boto3.client('s3').put_object(Bucket='reached', Key='k', Body=b'from a function')\n"
    )
    cloud.function("writer", code)
    assert cloud.call("writer") == (None, None)
    with cloud.client("s3").get_object(Bucket="reached", Key="k")["Body"] as body:
        assert body.read() == b"from a function"


def test_an_error_has_the_type_of_the_python_class(cloud: FunctionsCloud) -> None:
    code = (
        "class DatasetTooSmall(Exception):\n    pass\n"
        "def handler(event, context):\n    raise DatasetTooSmall('only 3 rows')\n"
    )
    cloud.function("raises", code)
    answer, error = cloud.call("raises")
    assert error == "Unhandled"
    assert (answer["errorType"], answer["errorMessage"]) == ("DatasetTooSmall", "only 3 rows")
    assert any("raise DatasetTooSmall" in line for line in answer["stackTrace"])


def test_a_module_that_cannot_be_imported_is_an_error_of_the_function(cloud: FunctionsCloud) -> None:
    cloud.function("unimportable", "import no_such_module\n")
    answer, error = cloud.call("unimportable")
    assert (answer["errorType"], error) == ("Runtime.ImportModuleError", "Unhandled")


def test_a_function_that_takes_too_long_times_out_and_works_again_afterwards(cloud: FunctionsCloud) -> None:
    code = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return 'done'\n"
    cloud.function("slow", code, Timeout=2)
    answer, error = cloud.call("slow", 20)
    assert (answer["errorType"], error) == ("Sandbox.Timedout", "Unhandled")
    assert "Task timed out after 2.00 seconds" in answer["errorMessage"]
    assert cloud.call("slow", 0) == ("done", None)


def test_a_function_whose_process_dies_fails_once_and_works_again_afterwards(cloud: FunctionsCloud) -> None:
    code = "import os\ndef handler(event, context):\n    return os._exit(7) if event else 'alive'\n"
    cloud.function("mortal", code)
    answer, error = cloud.call("mortal", True)
    assert (answer["errorType"], error) == ("Runtime.ExitError", "Unhandled")
    assert cloud.call("mortal", False) == ("alive", None)


def test_twelve_invocations_at_once_all_succeed_in_at_most_ten_processes(cloud: FunctionsCloud) -> None:
    code = "import os, time\ndef handler(event, context):\n    time.sleep(0.3)\n    return [event, os.getpid()]\n"
    cloud.function("busy", code, Timeout=60)
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda number: cloud.call("busy", number), range(12)))
    assert [answer[0] for answer, _ in answers] == list(range(12))
    assert {error for _, error in answers} == {None}
    processes = {answer[1] for answer, _ in answers}
    assert 2 <= len(processes) <= function_pool.CONCURRENCY_LIMIT


def test_more_than_the_reserved_concurrency_is_throttled_after_the_timeout(cloud: FunctionsCloud) -> None:
    cloud.function("narrow", "import time\ndef handler(event, context):\n    time.sleep(event)\n", Timeout=4)
    cloud.client("lambda").put_function_concurrency(FunctionName="narrow", ReservedConcurrentExecutions=1)

    def call(seconds: float) -> str | None:
        try:
            return cloud.call("narrow", seconds)[1]
        except ClientError as error:
            return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"

    with ThreadPoolExecutor(3) as threads:
        outcomes = list(threads.map(call, [2.5, 2.5, 2.5]))
    assert sorted(map(str, outcomes)) == ["429 TooManyRequestsException", "None", "None"]


def test_changed_code_and_changed_configuration_are_used_by_the_next_invocation(
    cloud: FunctionsCloud,
) -> None:
    code = "import os\nprint('v1 starts')\ndef handler(event, context):\n    return ['v1', os.environ.get('X')]\n"
    lambda_ = cloud.client("lambda")
    cloud.function("changing", code)
    assert cloud.call("changing")[0] == ["v1", None]
    lambda_.update_function_code(
        FunctionName="changing", ZipFile=zipped({"app.py": code.replace("'v1'", "'v2'")})
    )
    assert cloud.call("changing")[0] == ["v2", None]
    lambda_.update_function_configuration(FunctionName="changing", Environment={"Variables": {"X": "1"}})
    assert cloud.call("changing")[0] == ["v2", "1"]


def test_a_deleted_function_is_gone(cloud: FunctionsCloud) -> None:
    cloud.function("short-lived", ECHO)
    cloud.call("short-lived")
    cloud.client("lambda").delete_function(FunctionName="short-lived")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        cloud.call("short-lived")


def test_a_stack_deploys_code_from_a_bucket_with_a_layer_and_updates_it(cloud: FunctionsCloud) -> None:
    s3, stacks = cloud.client("s3"), cloud.client("cloudformation")
    s3.create_bucket(Bucket="artifacts")
    code = "import extra\ndef handler(event, context):\n    return ['v1', extra.NAME]\n"
    s3.put_object(Bucket="artifacts", Key="v1", Body=zipped({"app.py": code}))
    s3.put_object(Bucket="artifacts", Key="v2", Body=zipped({"app.py": code.replace("v1", "v2")}))
    s3.put_object(Bucket="artifacts", Key="layer", Body=zipped({"python/extra.py": "NAME = 'extra'"}))

    def template(key: str) -> str:
        layer = {"LayerName": "extra", "Content": {"S3Bucket": "artifacts", "S3Key": "layer"}}
        function = {
            "FunctionName": "stacked",
            "Runtime": "python3.13",
            "Handler": "app.handler",
            "Role": ROLE,
            "Timeout": 20,
            "Code": {"S3Bucket": "artifacts", "S3Key": key},
            "Layers": [{"Ref": "Layer"}],
        }
        resources = {
            "Layer": {"Type": "AWS::Lambda::LayerVersion", "Properties": layer},
            "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
        }
        return json.dumps({"Resources": resources})

    stacks.create_stack(StackName="functions", TemplateBody=template("v1"))
    assert cloud.call("stacked") == (["v1", "extra"], None)
    stacks.update_stack(StackName="functions", TemplateBody=template("v2"))
    assert cloud.call("stacked") == (["v2", "extra"], None)


def test_what_a_function_prints_is_in_its_log_group_and_in_the_tail(cloud: FunctionsCloud) -> None:
    cloud.function("talks", "def handler(event, context):\n    print('first line')\n    print('last line')\n")
    answer = cloud.client("lambda").invoke(FunctionName="talks", LogType="Tail")
    answer["Payload"].close()
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert "first line\nlast line\n" in tail
    assert "REPORT RequestId" in tail
    assert "last line" in eventually(lambda: cloud.logged("talks"))


def test_a_dry_run_does_not_run_the_function(cloud: FunctionsCloud) -> None:
    cloud.function("dry", "def handler(event, context):\n    print('ran')\n")
    answer = cloud.client("lambda").invoke(FunctionName="dry", InvocationType="DryRun")
    answer["Payload"].close()
    assert answer["StatusCode"] == 204
    assert cloud.logged("dry") == []


def test_an_event_is_tried_three_times_and_then_sent_to_the_dead_letter_queue(
    cloud: FunctionsCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_invocations, "RETRY_BACK_OFF_S", 0.01)
    sqs = cloud.client("sqs")
    queue = sqs.create_queue(QueueName="dead")["QueueUrl"]
    cloud.function(
        "fails",
        "def handler(event, context):\n    print('trying')\n    raise RuntimeError('never')\n",
        DeadLetterConfig={"TargetArn": "arn:aws:sqs:us-east-1:123456789012:dead"},
    )
    answer = cloud.client("lambda").invoke(FunctionName="fails", InvocationType="Event", Payload=b'{"n": 1}')
    answer["Payload"].close()
    assert answer["StatusCode"] == 202
    received = eventually(
        lambda: sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"]).get("Messages")
    )
    assert json.loads(received[0]["Body"]) == {"n": 1}
    assert received[0]["MessageAttributes"]["ErrorMessage"]["StringValue"] == "never"
    assert cloud.logged("fails").count("trying") == 3


def test_an_event_that_fails_is_described_to_the_destination_on_failure(cloud: FunctionsCloud) -> None:
    sqs = cloud.client("sqs")
    queue = sqs.create_queue(QueueName="failures")["QueueUrl"]
    cloud.function("described", "def handler(event, context):\n    raise KeyError('gone')\n")
    cloud.client("lambda").put_function_event_invoke_config(
        FunctionName="described",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:failures"}},
    )
    cloud.client("lambda").invoke(FunctionName="described", InvocationType="Event", Payload=b"[1]")[
        "Payload"
    ].close()
    received = eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    record = json.loads(received[0]["Body"])
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert record["requestPayload"] == [1]
    assert record["responsePayload"]["errorType"] == "KeyError"


def test_a_function_in_another_language_is_refused_in_words(cloud: FunctionsCloud) -> None:
    cloud.function("node", "x", Runtime="nodejs22.x")
    answer, error = cloud.call("node")
    assert error == "Unhandled"
    assert "Python functions" in answer["errorMessage"]


def test_code_is_unpacked_once_and_never_outside_of_its_folder(tmp_path: Path) -> None:
    target = tmp_path / "code" / "digest"
    archive = zipped({"a/b.py": "x = 1"})
    assert function_code.unpack(archive, target) == target
    assert (target / "a" / "b.py").read_text() == "x = 1"
    (target / "a" / "b.py").write_text("marked")
    function_code.unpack(archive, target)
    assert (target / "a" / "b.py").read_text() == "marked"
    for name in ("../escaped.py", "a/../../escaped.py", "/escaped.py"):
        with pytest.raises(LocalCloudError, match="outside"):
            function_code.unpack(zipped({name: "x"}), tmp_path / "code" / "evil")
    with pytest.raises(LocalCloudError, match="not a zip"):
        function_code.unpack(b"no zip", tmp_path / "code" / "evil")
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["digest"]


def test_the_emulator_can_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "rie"
    monkeypatch.setenv("LEHR_RIE", str(binary))
    with pytest.raises(LocalCloudError, match="not a file"):
        find_emulator()
    binary.touch()
    assert find_emulator() == binary


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the platform is named first")
def test_a_missing_emulator_is_told_in_one_sentence_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LEHR_RIE", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(emulator, "__file__", str(tmp_path / "emulator.py"))
    with pytest.raises(LocalCloudError, match="aws-lambda-rie") as caught:
        find_emulator()
    assert "aws-sam-cli" in caught.value.hint


class _Process:
    """Stands in for a process of a function in the tests of the pool."""

    last_used = 0.0

    def __init__(self) -> None:
        self.alive = True

    def invoke(self, payload: bytes, *, is_tail_wanted: bool) -> InvocationResult:
        return InvocationResult(payload=payload, error=None, log_tail="")

    def is_alive(self) -> bool:
        return self.alive

    def close(self) -> None:
        self.alive = False


def _pool(started: list[_Process], limit: int) -> FunctionPool:
    def start() -> Any:
        started.append(_Process())
        return started[-1]

    return FunctionPool(start, limit)


def test_a_pool_reuses_a_process_and_replaces_a_dead_one() -> None:
    started: list[_Process] = []
    pool = _pool(started, limit=2)
    for _ in range(3):
        pool.invoke(b"", wait_s=1, is_tail_wanted=False)
    assert len(started) <= 1 or not started[0].alive
    started[-1].alive = False
    pool.invoke(b"", wait_s=1, is_tail_wanted=False)
    assert started[-1].alive


def test_a_pool_that_fails_to_start_a_process_does_not_lose_its_place() -> None:
    def fail() -> Any:
        raise LocalCloudError("no")

    pool = FunctionPool(fail, limit=1)
    for _ in range(2):
        with pytest.raises(LocalCloudError):
            pool.invoke(b"", wait_s=0.1, is_tail_wanted=False)


def test_a_pool_without_room_throttles() -> None:
    with pytest.raises(Throttled):
        FunctionPool(lambda: pytest.fail("started"), limit=0).invoke(b"", wait_s=0.01, is_tail_wanted=False)


def test_what_we_hook_of_motos_lambda_is_there(cloud: FunctionsCloud) -> None:
    from moto.awslambda.models import EventSourceMapping, LambdaBackend, LambdaFunction
    from moto.awslambda.utils import get_backend
    from moto.awslambda_simple.models import lambda_simple_backends

    from lehr_local.lambda_backend import EmulatedLambdaBackend

    assert lambda_simple_backends.backend is EmulatedLambdaBackend
    backend = get_backend("123456789012", "us-east-1")
    assert isinstance(backend, EmulatedLambdaBackend)
    for name in ("create_function", "delete_function", "invoke", "layers_versions_by_arn"):
        assert callable(getattr(LambdaBackend, name))
    assert isinstance(backend._event_source_mappings, dict)
    assert "invoke" in vars(LambdaFunction)
    assert EventSourceMapping.cloudformation_type() == "AWS::Lambda::EventSourceMapping"
    cloud.function("described-by-moto", ECHO)
    function = backend.get_function("described-by-moto")
    assert len(function.code_digest) == 64
    assert function.code_bytes[:2] == b"PK"
    assert (function.reserved_concurrency, function.layers, function.event_invoke_config) == (None, [], [])


def test_a_function_logs_to_the_group_that_it_names(cloud: FunctionsCloud) -> None:
    client = cloud.client("lambda")
    code = "import os\ndef handler(event, context):\n    print('here')\n    return context.log_group_name"
    cloud.function("elsewhere", code, LoggingConfig={"LogFormat": "Text", "LogGroup": "/own/group"})
    told = client.get_function_configuration(FunctionName="elsewhere")["LoggingConfig"]
    assert told["LogGroup"] == "/own/group"
    assert cloud.call("elsewhere") == ("/own/group", None)

    def lines(group: str) -> list[str]:
        return [e["message"] for e in cloud.client("logs").filter_log_events(logGroupName=group)["events"]]

    assert eventually(lambda: "here" in lines("/own/group"))
    assert cloud.logged("elsewhere") == []
    client.update_function_configuration(FunctionName="elsewhere", LoggingConfig={"LogGroup": "/other/group"})
    assert cloud.call("elsewhere") == ("/other/group", None)
    assert eventually(lambda: "here" in lines("/other/group"))


def test_a_function_that_names_no_group_has_one_of_its_name(cloud: FunctionsCloud) -> None:
    cloud.function("plain-logs", "def handler(event, context):\n    return context.log_group_name")
    assert cloud.call("plain-logs") == ("/aws/lambda/plain-logs", None)
    found = cloud.client("lambda").get_function_configuration(FunctionName="plain-logs")["LoggingConfig"]
    assert found == {"LogFormat": "Text", "LogGroup": "/aws/lambda/plain-logs"}


def test_a_line_as_long_as_an_event_of_the_log_may_be_arrives_whole(cloud: FunctionsCloud) -> None:
    code = "def handler(event, context):\n    print('begin' + 'x' * event + 'end')\n"
    cloud.function("long-winded", code)
    size = MAX_LINE_BYTES - len("beginend")
    assert cloud.call("long-winded", size) == (None, None)
    line = f"begin{'x' * size}end"
    assert eventually(lambda: line in cloud.logged("long-winded"))


def image_function(cloud: FunctionsCloud, name: str, **config: Any) -> None:
    cloud.client("lambda").create_function(
        FunctionName=name,
        PackageType="Image",
        Code={"ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/any:1"},
        ImageConfig=config,
        Role=ROLE,
        Timeout=20,
        MemorySize=3008,
    )


def test_a_function_from_an_image_runs_its_handler_with_this_environments_packages(
    cloud: FunctionsCloud,
) -> None:
    image_function(
        cloud, "image", EntryPoint=["python", "-m", "awslambdaric"], Command=["lehr_trainer.function.handler"]
    )
    answer, error = cloud.call("image", {"project": "p"})
    assert (error, answer["errorType"]) == ("Unhandled", "ContractError")
    assert "run" in answer["errorMessage"]


def test_an_image_that_is_not_known_to_be_python_is_refused_in_words(cloud: FunctionsCloud) -> None:
    image_function(cloud, "binary", EntryPoint=["/bootstrap"], Command=["x"])
    answer, error = cloud.call("binary")
    assert error == "Unhandled"
    assert "binary cannot be run here" in answer["errorMessage"]
    assert "awslambdaric" in answer["errorMessage"]
