"""The trainer: the only place that imports torch. It runs as a container's main process.

    python -m lehr_trainer train

reads a training job under the /opt/ml contract (`job.py`), trains (`train.py`), exports the model to ONNX and
proves that the export equals the model (`export.py`). It needs files only: no network and no AWS client.
"""

__version__ = "0.1.0"
