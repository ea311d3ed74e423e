"""Peer: FastAPI on Lambda through Mangum, boto3 for the model."""

import os
from typing import Annotated

import boto3
import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from mangum import Mangum
from pydantic import BaseModel, Field, create_model

path = "/tmp/" + str(os.getpid()) + "-model.onnx"
boto3.client("s3").download_file(os.environ["MODEL_BUCKET"], os.environ["MODEL_KEY"], path)
session = ort.InferenceSession(path)
os.unlink(path)
model_input = session.get_inputs()[0]

kind = Annotated[int, Field(ge=0, le=255)]
for _ in model_input.shape:
    kind = list[kind]
Request = create_model("Request", inputs=(kind, ...))
app = FastAPI()


class Answer(BaseModel):
    probabilities: list[list[float]]


@app.post("/predict/{project}")
def predict(project: str, body: Request) -> Answer:
    (probabilities,) = session.run(None, {model_input.name: np.array(body.inputs, dtype=np.uint8)})
    return Answer(probabilities=probabilities.tolist())


handler = Mangum(app, lifespan="off")
