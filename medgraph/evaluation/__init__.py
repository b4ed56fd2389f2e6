"""Probes and metrics on an encoder or a fine-tuned model."""
