"""Peer: PyTorch in eager mode behind a plain handler, boto3 for the weights."""

import json
import os

import boto3
import torch
from networks import mlp, resnet18

path = "/tmp/" + str(os.getpid()) + "-state.pt"
boto3.client("s3").download_file(os.environ["MODEL_BUCKET"], os.environ["MODEL_STATE_KEY"], path)
model = {"mnist": mlp, "resnet18": resnet18}[os.environ["MODEL_NAME"]]()
model.load_state_dict(torch.load(path, weights_only=True))
model.eval()
os.unlink(path)


def handler(event, context):
    x = torch.tensor(json.loads(event["body"])["inputs"], dtype=torch.uint8)
    with torch.inference_mode():
        probabilities = torch.softmax(model(x.to(torch.float32) / 255.0), dim=1)
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"probabilities": probabilities.tolist()}),
    }
