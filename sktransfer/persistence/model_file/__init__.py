"""Model files: estimators as data that is safe to open.

`save` and `load` are the door. Records of the manifest are made and read by one module for each
kind of thing: estimators, fits, backbones, heads, plain values, objects of scikit-learn. `fields`,
`tensors` and `container` check what they are made of.
"""
