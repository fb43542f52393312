"""Pretrained networks as ordered lists of named stages.

``registry`` knows their names and facts, ``networks`` builds them (``lite0`` is the
one that torchvision lacks), ``weights`` fills them, ``stages`` cuts them, ``backbone``
puts the stages together and answers what is frozen, what trains and what is read.
"""
