"""Sources of backbones, one file each: torchvision, and EfficientNet-Lite.

``base`` is the interface that each of them implements, ``download`` fetches files that are
published at a URL. The list of all sources is in ``sktransfer.backbones.names``.
"""
