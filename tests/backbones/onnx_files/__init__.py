"""Small files of ONNX, and the networks that they were exported from.

``python -m tests.backbones.onnx_files.export`` writes them again; it needs onnx and onnxscript.
"""
