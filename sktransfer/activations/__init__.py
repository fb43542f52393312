"""The outputs of frozen stages.

``engine`` runs a frozen network on a device, ``streaming`` feeds it pictures batch by
batch and hands on, or collects, what it gives.
"""
