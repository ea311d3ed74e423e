"""Contracts, pure rules, ports and AWS adapters: what every deployable of Lehr shares.

Nothing here imports numpy, onnxruntime or torch, and only `lehr.aws` imports boto3.
"""

__version__ = "0.1.0"
