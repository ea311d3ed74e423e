"""What a template keeps data in: buckets, tables, log groups."""

from __future__ import annotations

from typing import Any

from lehr_local.resource_models import (
    Created,
    Deployment,
    Properties,
    Provider,
    Resource,
    as_bool,
    as_map,
    as_text,
    fit,
    without,
)


class Bucket(Provider):
    """`AWS::S3::Bucket`. A bucket that still holds objects is not deleted, as on AWS."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        name = properties.get("BucketName") or deployment.generated_name.lower()[:63]
        region = deployment.settings.region
        arguments: dict[str, Any] = {"Bucket": name}
        if region != "us-east-1":
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": region}
        s3 = deployment.clients("s3")
        # In us-east-1 CreateBucket succeeds on a bucket one owns already; CloudFormation does not.
        if any(bucket["Name"] == name for bucket in s3.list_buckets()["Buckets"]):
            raise ValueError(f"The bucket {name} already exists.")
        s3.create_bucket(**arguments)
        self._configure(deployment, name, properties)
        return Created(
            name,
            {
                "Arn": f"arn:aws:s3:::{name}",
                "DomainName": f"{name}.s3.amazonaws.com",
                "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
                "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
                "WebsiteURL": f"http://{name}.s3-website-{region}.amazonaws.com",
            },
        )

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        old_name = resource.properties.get("BucketName")
        if properties.get("BucketName") != old_name:
            return self.create(deployment, properties)
        self._configure(deployment, resource.physical_resource_id, properties)
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("s3").delete_bucket(Bucket=resource.physical_resource_id)

    def _configure(self, deployment: Deployment, name: str, properties: Properties) -> None:
        s3 = deployment.clients("s3")
        if "VersioningConfiguration" in properties:
            s3.put_bucket_versioning(
                Bucket=name,
                VersioningConfiguration={"Status": properties["VersioningConfiguration"]["Status"]},
            )
        if "BucketEncryption" in properties:
            rules = [
                {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}
                for rule in properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
                if "ServerSideEncryptionByDefault" in rule
            ]
            s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
        if "PublicAccessBlockConfiguration" in properties:
            s3.put_public_access_block(
                **fit(s3, "PutPublicAccessBlock", without(properties, "BucketName"), Bucket=name)
            )
        if "OwnershipControls" in properties:
            s3.put_bucket_ownership_controls(
                **fit(
                    s3,
                    "PutBucketOwnershipControls",
                    {"OwnershipControls": properties["OwnershipControls"]},
                    Bucket=name,
                )
            )
        if "LifecycleConfiguration" in properties:
            rules = [_lifecycle_rule(rule) for rule in properties["LifecycleConfiguration"]["Rules"]]
            s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
        if "CorsConfiguration" in properties:
            s3.put_bucket_cors(Bucket=name, CORSConfiguration=_cors(properties["CorsConfiguration"]))
        if "Tags" in properties:
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": properties["Tags"]})
        event_bridge = properties.get("NotificationConfiguration", {}).get("EventBridgeConfiguration")
        is_on = event_bridge is not None and as_bool(event_bridge.get("EventBridgeEnabled", True))
        s3.put_bucket_notification_configuration(
            Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}} if is_on else {}
        )


def _lifecycle_rule(rule: Properties) -> dict[str, Any]:
    """CloudFormation flattens what the S3 API nests."""
    converted: dict[str, Any] = {
        "Status": rule["Status"],
        "Filter": {"Prefix": rule.get("Prefix", "")},
    }
    if "Id" in rule:
        converted["ID"] = rule["Id"]
    if "ExpirationInDays" in rule:
        converted["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    noncurrent = rule.get("NoncurrentVersionExpiration", {}).get(
        "NoncurrentDays", rule.get("NoncurrentVersionExpirationInDays")
    )
    if noncurrent is not None:
        converted["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(noncurrent)}
    if "AbortIncompleteMultipartUpload" in rule:
        days = int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        converted["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    transitions = rule.get("Transitions") or ([rule["Transition"]] if "Transition" in rule else [])
    if transitions:
        converted["Transitions"] = [
            {"Days": int(item["TransitionInDays"]), "StorageClass": item["StorageClass"]}
            for item in transitions
        ]
    return converted


def _cors(configuration: Properties) -> dict[str, Any]:
    names = {"ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds", "Id": "ID"}
    rules = configuration.get("CorsRules", [])
    return {"CORSRules": [{names.get(key, key): value for key, value in rule.items()} for rule in rules]}


class BucketPolicy(Provider):
    """`AWS::S3::BucketPolicy`, without the statements that deny on a condition.

    moto denies whatever the condition says. The usual one, "only over TLS", would close the bucket to everybody:
    here the service is reached over plain HTTP, on the loopback interface. The shield reads the whole document.
    """

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        document = properties["PolicyDocument"]
        statements = (
            document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
        )
        left_out = [item for item in statements if item["Effect"] == "Deny" and item.get("Condition")]
        kept = [item for item in statements if item not in left_out]
        if kept:
            deployment.clients("s3").put_bucket_policy(
                Bucket=properties["Bucket"], Policy=as_text({**document, "Statement": kept})
            )
        note = ""
        if left_out:
            names = ", ".join(item.get("Sid", "a statement without Sid") for item in left_out)
            note = (
                "AWS::S3::BucketPolicy is not simulated where it denies on a condition, but to roles with "
                f"--enforce-iam: {names}."
            )
        return Created(properties["Bucket"], note=note)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("s3").delete_bucket_policy(Bucket=resource.properties["Bucket"])


class Table(Provider):
    """`AWS::DynamoDB::Table`. Changing a key or an index replaces an empty table and refuses a filled one."""

    _IN_PLACE = ("TimeToLiveSpecification", "PointInTimeRecoverySpecification", "Tags", "BillingMode")

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        dynamodb = deployment.clients("dynamodb")
        name = properties.get("TableName") or deployment.generated_name
        wanted = dict(properties)
        if "StreamSpecification" in wanted:
            wanted["StreamSpecification"] = {"StreamEnabled": True, **wanted["StreamSpecification"]}
        if "SSESpecification" in wanted:
            encryption = wanted["SSESpecification"]
            wanted["SSESpecification"] = {
                **encryption,
                "Enabled": as_bool(encryption.get("SSEEnabled", False)),
            }
        table = dynamodb.create_table(**fit(dynamodb, "CreateTable", wanted, TableName=name))[
            "TableDescription"
        ]
        self._configure(deployment, name, properties, {})
        attributes = {"Arn": table["TableArn"]}
        if "LatestStreamArn" in table:
            attributes["StreamArn"] = table["LatestStreamArn"]
        return Created(name, attributes)

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if without(properties, *self._IN_PLACE) == without(resource.properties, *self._IN_PLACE):
            self._configure(deployment, resource.physical_resource_id, properties, resource.properties)
            return resource.created
        dynamodb = deployment.clients("dynamodb")
        if dynamodb.scan(TableName=resource.physical_resource_id, Limit=1)["Count"]:
            raise ValueError(
                f"The table {resource.physical_resource_id} holds data and this change would replace it."
            )
        return super().update(deployment, resource, properties)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("dynamodb").delete_table(TableName=resource.physical_resource_id)

    def _configure(self, deployment: Deployment, name: str, properties: Properties, old: Properties) -> None:
        dynamodb = deployment.clients("dynamodb")
        for setting, call, operation in (
            ("TimeToLiveSpecification", dynamodb.update_time_to_live, "UpdateTimeToLive"),
            (
                "PointInTimeRecoverySpecification",
                dynamodb.update_continuous_backups,
                "UpdateContinuousBackups",
            ),
        ):
            if setting in properties and properties[setting] != old.get(setting):
                call(**fit(dynamodb, operation, {setting: properties[setting]}, TableName=name))


class LogGroup(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        logs = deployment.clients("logs")
        name = properties.get("LogGroupName") or deployment.generated_name
        tags = {key: str(value) for key, value in as_map(properties.get("Tags")).items()}
        logs.create_log_group(logGroupName=name, **({"tags": tags} if tags else {}))
        self._set_retention(deployment, name, properties)
        return Created(name, {"Arn": deployment.arn("logs", f"log-group:{name}:*")})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if properties.get("LogGroupName") != resource.properties.get("LogGroupName"):
            return super().update(deployment, resource, properties)
        self._set_retention(deployment, resource.physical_resource_id, properties)
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("logs").delete_log_group(logGroupName=resource.physical_resource_id)

    def _set_retention(self, deployment: Deployment, name: str, properties: Properties) -> None:
        logs = deployment.clients("logs")
        if "RetentionInDays" in properties:
            logs.put_retention_policy(logGroupName=name, retentionInDays=int(properties["RetentionInDays"]))


PROVIDERS: dict[str, Provider] = {
    "AWS::S3::Bucket": Bucket(),
    "AWS::S3::BucketPolicy": BucketPolicy(),
    "AWS::DynamoDB::Table": Table(),
    "AWS::Logs::LogGroup": LogGroup(),
}
