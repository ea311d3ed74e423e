"""Peer: LitServe, one worker. `python server.py PORT`."""

import os
import sys

import boto3
import litserve
import numpy as np
import onnxruntime as ort


class Predict(litserve.LitAPI):
    def setup(self, device):
        path = "/tmp/" + str(os.getpid()) + "-model.onnx"
        boto3.client("s3").download_file(os.environ["MODEL_BUCKET"], os.environ["MODEL_KEY"], path)
        self.session = ort.InferenceSession(path)
        os.unlink(path)
        self.name = self.session.get_inputs()[0].name

    def decode_request(self, request):
        return np.array(request["inputs"], dtype=np.uint8)

    def predict(self, x):
        return self.session.run(None, {self.name: x})[0]

    def encode_response(self, output):
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Predict(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
