"""The trainer: the only place that imports torch."""
