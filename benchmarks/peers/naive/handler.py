"""Peer: what most tutorials show. boto3, onnxruntime with its defaults, json."""

import json
import os

import boto3
import numpy as np
import onnxruntime as ort

path = "/tmp/" + str(os.getpid()) + "-model.onnx"
boto3.client("s3").download_file(os.environ["MODEL_BUCKET"], os.environ["MODEL_KEY"], path)
session = ort.InferenceSession(path)
os.unlink(path)
name = session.get_inputs()[0].name


def handler(event, context):
    x = np.array(json.loads(event["body"])["inputs"], dtype=np.uint8)
    (probabilities,) = session.run(None, {name: x})
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"probabilities": probabilities.tolist()}),
    }
