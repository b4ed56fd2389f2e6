"""Runs pipelines: stages in order, one training loop, checkpoints, logs, exports, reports."""
