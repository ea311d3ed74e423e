"""Decoding, shards, ONNX sessions and metrics: what training, evaluation and serving share. No torch."""
