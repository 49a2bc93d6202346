"""Fitted models as files: ONNX for other runtimes, skops for other machines and days."""

from skopu.deploy.model_files import list_trusted, load_model, save_model
from skopu.deploy.onnx_export import register_converters, to_onnx

__all__ = ["list_trusted", "load_model", "register_converters", "save_model", "to_onnx"]
