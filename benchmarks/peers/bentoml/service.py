"""Peer: BentoML, one worker. `bentoml serve service:Predict --host 127.0.0.1 --port PORT`."""

import os

import bentoml
import boto3
import numpy as np
import onnxruntime as ort


@bentoml.service(workers=1, metrics={"enabled": False})
class Predict:
    def __init__(self) -> None:
        path = "/tmp/" + str(os.getpid()) + "-model.onnx"
        boto3.client("s3").download_file(os.environ["MODEL_BUCKET"], os.environ["MODEL_KEY"], path)
        self.session = ort.InferenceSession(path)
        os.unlink(path)
        self.name = self.session.get_inputs()[0].name

    @bentoml.api
    def predict(self, inputs: list) -> dict:
        (probabilities,) = self.session.run(None, {self.name: np.array(inputs, dtype=np.uint8)})
        return {"probabilities": probabilities.tolist()}
