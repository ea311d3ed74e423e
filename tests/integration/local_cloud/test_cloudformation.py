"""The template's way into the local cloud: what CloudFormation makes of it, then changes, then takes away."""

from __future__ import annotations

import inspect
import io
import json
import shutil
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lehr_local.deploy import deploy, main, notes
from lehr_local.errors import LocalCloudError
from tests.integration.local_cloud.template_cloud import APPLICATION, TemplateCloud, running_cloud

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemplateCloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="module")
def outputs(cloud: TemplateCloud) -> dict[str, str]:
    """The outputs of the fixture application, deployed once as the stack `app`."""
    return deploy_to(cloud, APPLICATION / "template.yaml", "app")


def deploy_to(cloud: TemplateCloud, template: Path, stack: str, **parameters: str) -> dict[str, str]:
    return deploy(template, stack_name=stack, endpoint_url=cloud.settings.endpoint_url, parameters=parameters)


def template_of(folder: Path, text: str) -> Path:
    path = folder / "template.yaml"
    path.write_text(textwrap.dedent(text))
    return path


# Creation


def test_outputs_of_every_kind_are_resolved(cloud: TemplateCloud, outputs: dict[str, str]) -> None:
    assert outputs["BucketName"] == f"app-data-{ACCOUNT}"
    assert outputs["BucketArn"] == f"arn:aws:s3:::app-data-{ACCOUNT}"
    assert outputs["FunctionArn"] == f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:app-echo"
    assert outputs["LayerArn"] == f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:app-core:1"
    assert outputs["LogArn"] == f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/app-echo:*"
    assert outputs["RoleArn"].startswith(f"arn:aws:iam::{ACCOUNT}:role/app-EchoFunctionRole-")
    assert outputs["QueueArn"].startswith(f"arn:aws:sqs:us-east-1:{ACCOUNT}:app-StartQueue-")
    assert outputs["QueueUrl"].endswith(outputs["QueueArn"].rpartition(":")[2])
    assert "/stream/" in outputs["TableStreamArn"]
    assert outputs["Where"] == f"aws us-east-1 {ACCOUNT} app amazonaws.com"
    assert outputs["Chosen"] == "with"
    assert outputs["Endpoint"] == f"https://localhost:{cloud.settings.https_port}"
    assert outputs["Predict"] == f"curl {outputs['Endpoint']}/predict"
    assert not [value for value in outputs.values() if "${" in value or value == "None"]


def test_a_function_has_the_environment_the_role_and_the_layers_of_the_template(
    cloud: TemplateCloud, outputs: dict[str, str]
) -> None:
    function = cloud.client("lambda").get_function_configuration(FunctionName="app-echo")
    table = outputs["TableArn"].rpartition("/")[2]
    assert function["Environment"]["Variables"] == {
        "TABLE": table,
        "BUCKET": outputs["BucketName"],
        "GREETING": "hello",
    }
    assert function["Role"] == outputs["RoleArn"]
    assert [layer["Arn"] for layer in function["Layers"]] == [outputs["LayerArn"]]
    assert (function["Timeout"], function["MemorySize"]) == (30, 256)
    assert function["Handler"] == "functions.echo.app.handler"


def test_the_code_of_functions_and_layers_can_be_fetched(
    cloud: TemplateCloud, outputs: dict[str, str]
) -> None:
    code = cloud.client("s3")
    bucket = "lehr-local-deployments"
    names = []
    for item in code.list_objects_v2(Bucket=bucket)["Contents"]:
        if item["Key"].endswith(".zip"):
            body = code.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
            names.append(sorted(zipfile.ZipFile(io.BytesIO(body)).namelist()))
    assert ["functions/echo/__init__.py", "functions/echo/app.py"] in names
    assert ["functions/start_run/app.py", "functions/start_run/requirements.txt"] in names
    assert ["python/greeting/__init__.py"] in names
    layer = cloud.client("lambda").get_layer_version(LayerName="app-core", VersionNumber=1)
    assert layer["Content"]["CodeSize"] > 0


def test_the_state_machine_is_visible_with_its_substitutions_and_its_context_object(
    cloud: TemplateCloud, outputs: dict[str, str]
) -> None:
    machines = cloud.client("stepfunctions")
    listed = [machine["stateMachineArn"] for machine in machines.list_state_machines()["stateMachines"]]
    assert outputs["StateMachineArn"] in listed
    machine = machines.describe_state_machine(stateMachineArn=outputs["StateMachineArn"])
    parameters = json.loads(machine["definition"])["States"]["Greet"]["Parameters"]
    assert parameters["FunctionName"] == outputs["FunctionArn"]
    assert parameters["Payload"] == {
        "run.$": "$$.Execution.Name",
        "table": outputs["TableArn"].rpartition("/")[2],
        "limit": "3",
    }
    assert machine["loggingConfiguration"]["level"] == "ALL"
    assert machine["tracingConfiguration"] == {"enabled": True}


def test_the_bucket_has_versions_lifecycle_and_policy_and_can_be_written(
    cloud: TemplateCloud, outputs: dict[str, str]
) -> None:
    s3, name = cloud.client("s3"), outputs["BucketName"]
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    assert len(s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]) == 3
    # "Only over TLS" would deny everything here, since moto evaluates no condition.
    statements = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
    assert [statement["Sid"] for statement in statements] == ["Readers"]
    s3.put_object(Bucket=name, Key="incoming/a", Body=b"1")
    assert s3.get_object(Bucket=name, Key="incoming/a")["Body"].read() == b"1"
    for version in s3.list_object_versions(Bucket=name)["Versions"]:
        s3.delete_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])


def test_an_object_in_a_bucket_with_event_bridge_reaches_a_rule_and_without_it_does_not(
    cloud: TemplateCloud, tmp_path: Path
) -> None:
    text = """
        Parameters: {IsOn: {Type: String}}
        Resources:
          Bucket:
            Type: AWS::S3::Bucket
            Properties: {NotificationConfiguration: {EventBridgeConfiguration: {EventBridgeEnabled: !Ref IsOn}}}
          Queue: {Type: AWS::SQS::Queue}
          Rule:
            Type: AWS::Events::Rule
            Properties:
              EventPattern:
                source: [aws.s3]
                detail-type: [Object Created]
                detail: {bucket: {name: [!Ref Bucket]}}
              Targets: [{Id: queue, Arn: !GetAtt Queue.Arn}]
        Outputs: {Bucket: {Value: !Ref Bucket}, Queue: {Value: !Ref Queue}}
        """
    for is_on, count in (("true", 1), ("false", 0)):
        found = deploy_to(cloud, template_of(tmp_path, text), "bridge", IsOn=is_on)
        cloud.client("s3").put_object(Bucket=found["Bucket"], Key=f"{is_on}/_READY", Body=b"")
        messages = cloud.client("sqs").receive_message(QueueUrl=found["Queue"]).get("Messages", [])
        assert [json.loads(message["Body"])["detail"]["object"]["key"] for message in messages] == [
            f"{is_on}/_READY"
        ] * count
        for message in messages:
            cloud.client("sqs").delete_message(
                QueueUrl=found["Queue"], ReceiptHandle=message["ReceiptHandle"]
            )


def test_queues_topics_rules_and_mappings_are_wired(cloud: TemplateCloud, outputs: dict[str, str]) -> None:
    attributes = cloud.client("sqs").get_queue_attributes(
        QueueUrl=outputs["QueueUrl"], AttributeNames=["All"]
    )["Attributes"]
    assert attributes["VisibilityTimeout"] == "180"
    assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] in (3, "3")
    assert json.loads(attributes["Policy"])["Statement"][0]["Resource"] == outputs["QueueArn"]
    events = cloud.client("events")
    rule = next(rule for rule in events.list_rules()["Rules"] if "ReadyRule" in rule["Name"])
    assert json.loads(rule["EventPattern"])["detail"]["bucket"]["name"] == [outputs["BucketName"]]
    (target,) = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    assert target["Arn"] == outputs["QueueArn"]
    (mapping,) = cloud.client("lambda").list_event_source_mappings(EventSourceArn=outputs["QueueArn"])[
        "EventSourceMappings"
    ]
    assert mapping["BatchSize"] == 1
    (subscription,) = cloud.client("sns").list_subscriptions_by_topic(TopicArn=outputs["TopicArn"])[
        "Subscriptions"
    ]
    assert subscription["Protocol"] == "sqs"
    alarm = cloud.client("cloudwatch").describe_alarms(AlarmNames=[outputs["AlarmName"]])["MetricAlarms"][0]
    assert alarm["AlarmActions"] == [outputs["TopicArn"]]


def test_routes_keep_their_authorization(cloud: TemplateCloud, outputs: dict[str, str]) -> None:
    client = cloud.client("apigatewayv2")
    routes = client.get_routes(ApiId=outputs["ApiId"])["Items"]
    assert {route["RouteKey"]: route["AuthorizationType"] for route in routes} == {
        "POST /predict": "AWS_IAM",
        "GET /": "NONE",
    }
    assert client.get_api(ApiId=outputs["ApiId"])["ApiEndpoint"] == outputs["Endpoint"]


def test_roles_carry_their_inline_and_managed_policies(cloud: TemplateCloud, outputs: dict[str, str]) -> None:
    iam, role = cloud.client("iam"), outputs["RoleArn"].rpartition("/")[2]
    attached = {
        policy["PolicyName"] for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    }
    assert "AWSLambdaBasicExecutionRole" in attached
    (inline,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=inline)["PolicyDocument"]
    assert document["Statement"][0]["Resource"] == outputs["TableArn"]


def test_what_is_not_simulated_is_said_in_the_events(cloud: TemplateCloud, outputs: dict[str, str]) -> None:
    assert notes("app", endpoint_url=cloud.settings.endpoint_url) == [
        "BucketPolicy: AWS::S3::BucketPolicy is not simulated where it denies on a condition, but to roles with "
        "--enforce-iam: TlsOnly.",
        "Traces: AWS::XRay::Group is not simulated: traces are not kept.",
    ]


def test_every_resource_of_the_template_is_listed(cloud: TemplateCloud, outputs: dict[str, str]) -> None:
    resources = cloud.client("cloudformation").describe_stack_resources(StackName="app")["StackResources"]
    types = {resource["ResourceType"] for resource in resources}
    assert {"AWS::Lambda::Function", "AWS::ApiGatewayV2::Route", "AWS::SQS::QueuePolicy"} <= types
    assert all(resource["PhysicalResourceId"] for resource in resources)


# Failure


def test_an_unknown_type_fails_by_name_and_leaves_nothing(cloud: TemplateCloud, tmp_path: Path) -> None:
    template = template_of(
        tmp_path,
        """
        Resources:
          Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: left-behind}}
          Blueprint: {Type: AWS::Imaginary::Thing, DependsOn: Queue}
        """,
    )
    with pytest.raises(LocalCloudError, match=r"does not simulate resources of type AWS::Imaginary::Thing"):
        deploy_to(cloud, template, "unknown")
    stack = cloud.client("cloudformation").describe_stacks(StackName="unknown")["Stacks"][0]
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "left-behind" not in str(cloud.client("sqs").list_queues().get("QueueUrls", []))


def test_a_failed_creation_can_be_deployed_again(cloud: TemplateCloud, tmp_path: Path) -> None:
    broken = "Resources: {Queue: {Type: AWS::SQS::Queue, Properties: {VisibilityTimeout: !Ref Nothing}}}"
    with pytest.raises(LocalCloudError, match=r"Queue \(AWS::SQS::Queue\): It refers to 'Nothing'"):
        deploy_to(cloud, template_of(tmp_path, broken), "again")
    mended = "Resources: {Queue: {Type: AWS::SQS::Queue}}\nOutputs: {Arn: {Value: !GetAtt Queue.Arn}}"
    assert ":again-Queue-" in deploy_to(cloud, template_of(tmp_path, mended), "again")["Arn"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Resources: {A: {Type: AWS::SQS::Queue}}\nOutputs: {X: {Value: !Ref B}}", "unresolved resource.*B"),
        (
            "Resources: {A: {Type: AWS::SQS::Queue, DependsOn: B}, B: {Type: AWS::SQS::Queue, DependsOn: A}}",
            "Circular dependency.*A, B",
        ),
        (
            "Transform: AWS::Serverless-2016-10-31\nResources: {F: {Type: AWS::Serverless::Function}}",
            "SAM refuses the template: .*F",
        ),
        ("Transform: Own::Macro\nResources: {A: {Type: AWS::SQS::Queue}}", "transform Own::Macro"),
        ("Resources: {A: {Properties: {}}}", "Resource A has no Type"),
        ("Resources: [", "not valid YAML"),
        (
            "Parameters: {P: {Type: String, AllowedValues: [a], Default: b}}\n"
            "Resources: {A: {Type: AWS::SQS::Queue}}",
            "'P' must be one of",
        ),
    ],
)
def test_a_wrong_template_is_refused_with_a_sentence(
    cloud: TemplateCloud, tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(LocalCloudError, match=f"(?i){sentence}"):
        deploy_to(cloud, template_of(tmp_path, text), "wrong")


def test_an_attribute_that_a_type_lacks_is_named(cloud: TemplateCloud, tmp_path: Path) -> None:
    text = """
        Resources:
          Queue: {Type: AWS::SQS::Queue}
          Topic: {Type: AWS::SNS::Topic, Properties: {DisplayName: !GetAtt Queue.Colour}}
        """
    with pytest.raises(LocalCloudError, match="Queue does not support attribute type Colour"):
        deploy_to(cloud, template_of(tmp_path, text), "colour")


# Update


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(APPLICATION, tmp_path / "application")
    return tmp_path / "application"


def test_an_update_changes_code_definition_environment_and_layer(cloud: TemplateCloud, copy: Path) -> None:
    before = deploy_to(cloud, copy / "template.yaml", "change")
    functions = cloud.client("lambda")
    old = functions.get_function_configuration(FunctionName="change-echo")

    (copy / "functions/echo/app.py").write_text("def handler(event, context):\n    return 2\n")
    (copy / "layers/core/greeting/__init__.py").write_text("def hello():\n    return 'hi'\n")
    definition = copy / "statemachine/retrain.asl.yaml"
    definition.write_text(definition.read_text().replace("Greet", "Welcome"))
    after = deploy_to(cloud, copy / "template.yaml", "change", Greeting="good day", Limit="7")

    new = functions.get_function_configuration(FunctionName="change-echo")
    assert new["CodeSha256"] != old["CodeSha256"]
    assert new["Environment"]["Variables"]["GREETING"] == "good day"
    assert new["Layers"][0]["Arn"] == after["LayerArn"] != before["LayerArn"]
    machine = cloud.client("stepfunctions").describe_state_machine(stateMachineArn=after["StateMachineArn"])
    states = json.loads(machine["definition"])["States"]
    assert states["Welcome"]["Parameters"]["Payload"]["limit"] == "7"
    assert {**after, "LayerArn": ""} == {**before, "LayerArn": ""}


def test_an_update_creates_what_a_condition_now_wants_and_deletes_what_it_does_not(
    cloud: TemplateCloud, copy: Path
) -> None:
    alarms = cloud.client("cloudwatch")

    def names() -> list[str]:
        found = alarms.describe_alarms(AlarmNamePrefix="flip-")["MetricAlarms"]
        return [alarm["AlarmName"] for alarm in found]

    assert "AlarmName" not in deploy_to(cloud, copy / "template.yaml", "flip", WithAlarm="no")
    assert names() == []
    created = deploy_to(cloud, copy / "template.yaml", "flip", WithAlarm="yes")
    assert names() == [created["AlarmName"]]
    deploy_to(cloud, copy / "template.yaml", "flip", WithAlarm="no")
    assert names() == []


def test_a_failed_update_goes_back_to_what_was(cloud: TemplateCloud, tmp_path: Path) -> None:
    text = "Resources: {Queue: {Type: AWS::SQS::Queue, Properties: {VisibilityTimeout: 10}}}"
    deploy_to(cloud, template_of(tmp_path, text), "back")
    worse = text.replace("10}}", "99}}, Bad: {Type: AWS::Imaginary::Thing, DependsOn: Queue}")
    with pytest.raises(LocalCloudError, match=r"UPDATE_ROLLBACK_COMPLETE: Bad \(AWS::Imaginary::Thing\)"):
        deploy_to(cloud, template_of(tmp_path, worse), "back")
    (queue,) = cloud.client("cloudformation").describe_stack_resources(StackName="back")["StackResources"]
    attributes = cloud.client("sqs").get_queue_attributes(
        QueueUrl=queue["PhysicalResourceId"], AttributeNames=["VisibilityTimeout"]
    )
    assert attributes["Attributes"]["VisibilityTimeout"] == "10"


def test_a_table_with_data_is_not_replaced(cloud: TemplateCloud, tmp_path: Path) -> None:
    text = """
        Resources:
          Table:
            Type: AWS::DynamoDB::Table
            Properties:
              TableName: precious
              BillingMode: PAY_PER_REQUEST
              AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
              KeySchema: [{AttributeName: pk, KeyType: HASH}]
        """
    deploy_to(cloud, template_of(tmp_path, text), "precious")
    cloud.client("dynamodb").put_item(TableName="precious", Item={"pk": {"S": "champion"}})
    with pytest.raises(LocalCloudError, match="holds data"):
        deploy_to(cloud, template_of(tmp_path, text.replace("pk", "id")), "precious")
    assert cloud.client("dynamodb").scan(TableName="precious")["Count"] == 1


def test_deploying_the_same_again_changes_nothing(cloud: TemplateCloud, tmp_path: Path) -> None:
    template = template_of(
        tmp_path,
        "Resources: {Queue: {Type: AWS::SQS::Queue}}\nOutputs: {Arn: {Value: !GetAtt Queue.Arn}}",
    )
    assert deploy_to(cloud, template, "same") == deploy_to(cloud, template, "same")


def test_change_sets_create_update_and_give_outputs_as_sam_deploy_expects(cloud: TemplateCloud) -> None:
    cloudformation = cloud.client("cloudformation")

    def change(kind: str, timeout: int) -> dict[str, Any]:
        text = textwrap.dedent(
            f"""
            Parameters: {{Name: {{Type: String}}}}
            Resources:
              Second: {{Type: AWS::SNS::Topic, DependsOn: First}}
              First: {{Type: AWS::SQS::Queue, Properties: {{VisibilityTimeout: {timeout}, QueueName: !Ref Name}}}}
            Outputs: {{Url: {{Value: !Ref First}}, Topic: {{Value: !Ref Second}}}}
            """
        )
        cloudformation.create_change_set(
            StackName="sets",
            ChangeSetName=f"c{timeout}",
            ChangeSetType=kind,
            TemplateBody=text,
            Parameters=[{"ParameterKey": "Name", "ParameterValue": "by-set"}],
        )
        cloudformation.execute_change_set(StackName="sets", ChangeSetName=f"c{timeout}")
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName="sets")["Stacks"][0]
        return stack

    created = change("CREATE", 10)
    assert created["StackStatus"] == "CREATE_COMPLETE"
    updated = change("UPDATE", 20)
    assert updated["StackStatus"] == "UPDATE_COMPLETE"
    assert updated["Outputs"] == created["Outputs"]
    url = {output["OutputKey"]: output["OutputValue"] for output in updated["Outputs"]}["Url"]
    attributes = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    assert attributes["Attributes"]["VisibilityTimeout"] == "20"
    order = [
        event["LogicalResourceId"]
        for event in reversed(cloudformation.describe_stack_events(StackName="sets")["StackEvents"])
        if event["ResourceStatus"] == "CREATE_COMPLETE"
    ]
    assert order == ["First", "Second", "sets"]


# Deletion


def test_delete_stack_removes_what_it_created_and_keeps_what_is_retained(
    cloud: TemplateCloud, copy: Path
) -> None:
    template = copy / "template.yaml"
    template.write_text(
        template.read_text().replace("  DeadLetters:\n", "  DeadLetters:\n    DeletionPolicy: Retain\n")
    )
    outputs = deploy_to(cloud, template, "gone")
    cloud.client("cloudformation").delete_stack(StackName="gone")

    assert all(
        bucket["Name"] != outputs["BucketName"] for bucket in cloud.client("s3").list_buckets()["Buckets"]
    )
    functions = cloud.client("lambda").list_functions()["Functions"]
    assert not [item for item in functions if item["FunctionName"].startswith("gone-")]
    queues = cloud.client("sqs").list_queues(QueueNamePrefix="gone-")["QueueUrls"]
    assert [url.rpartition("/")[2].split("-")[1] for url in queues] == ["DeadLetters"]
    roles = cloud.client("iam").list_roles()["Roles"]
    assert not [role for role in roles if role["RoleName"].startswith("gone-")]
    apis = cloud.client("apigatewayv2").get_apis()["Items"]
    assert outputs["ApiId"] not in [api["ApiId"] for api in apis]
    machines = cloud.client("stepfunctions").list_state_machines()["stateMachines"]
    assert outputs["StateMachineArn"] not in [machine["stateMachineArn"] for machine in machines]
    tables = cloud.client("dynamodb").list_tables()["TableNames"]
    assert outputs["TableArn"].rpartition("/")[2] not in tables
    assert not cloud.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/gone-")["logGroups"]


def test_a_bucket_with_objects_is_not_deleted_and_the_stack_stays(
    cloud: TemplateCloud, tmp_path: Path
) -> None:
    template = template_of(
        tmp_path,
        "Resources: {Bucket: {Type: AWS::S3::Bucket}}\nOutputs: {Name: {Value: !Ref Bucket}}",
    )
    name = deploy_to(cloud, template, "filled")["Name"]
    cloud.client("s3").put_object(Bucket=name, Key="a", Body=b"")
    cloudformation = cloud.client("cloudformation")
    with pytest.raises(ClientError, match="could not be deleted: Bucket"):
        cloudformation.delete_stack(StackName="filled")
    assert cloudformation.describe_stacks(StackName="filled")["Stacks"][0]["StackStatus"] == "DELETE_FAILED"
    cloud.client("s3").delete_object(Bucket=name, Key="a")
    cloudformation.delete_stack(StackName="filled")
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName="filled")


# The command


def test_the_command_prints_outputs_as_json(
    cloud: TemplateCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = template_of(
        tmp_path,
        """
        Parameters: {Name: {Type: String}}
        Resources: {Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref Name}}}
        Outputs: {Arn: {Value: !GetAtt Queue.Arn}}
        """,
    )
    common = [
        "--template",
        str(template),
        "--stack",
        "command",
        "--endpoint-url",
        cloud.settings.endpoint_url,
    ]
    assert main([*common, "--parameter", "Name=by-command", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:by-command"}
    assert main([*common, "--parameter", "Nome=typo"]) == 2
    assert capsys.readouterr().err == "error: The template has no parameter Nome.\n"


def test_a_cloud_that_is_down_gives_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template = template_of(tmp_path, "Resources: {Queue: {Type: AWS::SQS::Queue}}")
    assert main(["--template", str(template), "--endpoint-url", "http://localhost:9"]) == 2
    assert "Is it up?" in capsys.readouterr().err


# The contract with moto


def test_moto_still_has_what_the_hooks_replace() -> None:
    from moto.cloudformation import models, parsing

    source = inspect.getsource(models)
    # moto builds these by their global names, which is what makes replacing the names work.
    assert "new_stack = Stack(" in source
    assert "new_change_set = ChangeSet(" in source
    assert "resource_map = ResourceMap(" in source
    assert "return OutputMap(self.resource_map, self.template_dict, self.stack_id)" in source
    for name in (
        "load",
        "load_parameters",
        "load_conditions",
        "validate_outputs",
        "create",
        "update",
        "delete",
    ):
        assert callable(getattr(parsing.ResourceMap, name))
    assert callable(parsing.clean_json)
    assert callable(parsing.get_model_map)


def test_moto_still_needs_the_conditional_denials_left_out() -> None:
    """When this fails, moto has learned conditions and `BucketPolicy` can hand over the whole document."""
    from moto.iam.access_control import IAMPolicyStatement, PermissionResult

    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    assert IAMPolicyStatement(statement).is_action_permitted("s3:GetObject", "x") == PermissionResult.DENIED


def test_moto_still_keeps_http_apis_as_the_front_reads_them() -> None:
    from moto.apigatewayv2.models import Api, Integration, Route, apigatewayv2_backends

    assert apigatewayv2_backends[ACCOUNT]["eu-west-1"].apis == {}
    for model, names in (
        (Api, ("api_endpoint", "protocol_type", "routes", "integrations", "stages")),
        (Route, ("route_key", "authorization_type", "target")),
        (Integration, ("integration_uri", "timeout_in_millis", "payload_format_version")),
    ):
        source = inspect.getsource(model.__init__)
        assert all(f"self.{name}" in source for name in names)
