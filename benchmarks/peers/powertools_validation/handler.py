"""Peer: AWS's own toolkit as its documentation shows it. Resolver with validation, Logger, Metrics, boto3."""

import os
from typing import Annotated

import boto3
import numpy as np
import onnxruntime as ort
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BaseModel, Field, create_model

logger = Logger(service="peer")
metrics = Metrics(namespace="Peer", service="peer")
app = APIGatewayHttpResolver(enable_validation=True)

path = "/tmp/" + str(os.getpid()) + "-model.onnx"
boto3.client("s3").download_file(os.environ["MODEL_BUCKET"], os.environ["MODEL_KEY"], path)
session = ort.InferenceSession(path)
os.unlink(path)
model_input = session.get_inputs()[0]

kind = Annotated[int, Field(ge=0, le=255)]
for _ in model_input.shape:
    kind = list[kind]
Request = create_model("Request", inputs=(kind, ...))


class Answer(BaseModel):
    probabilities: list[list[float]]


@app.post("/predict/<project>")
def predict(project: str, body: Request) -> Answer:
    (probabilities,) = session.run(None, {model_input.name: np.array(body.inputs, dtype=np.uint8)})
    metrics.add_metric(name="RowsPredicted", unit=MetricUnit.Count, value=len(probabilities))
    return Answer(probabilities=probabilities.tolist())


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event, context):
    return app.resolve(event, context)
