"""Registered versions away from the batch: as MLflow models without pickle, and as ONNX files. Imports stay light."""
