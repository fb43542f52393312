"""Pretrained networks as ordered lists of named stages.

``sources`` says where networks and weights come from, ``names`` finds the source of a name,
and ``catalogue`` lists the facts about all backbones. ``loading`` makes a ``Backbone``: it
builds the network (``networks``), finds and reads its weights (``weights``,
``state_dicts``) and cuts it into stages: by rules for torchvision's families (``stages``), and
others by the graph of their modules (``graph_cuts``, ``graph``, ``tracing``). The backbone in turn
makes the parts that an estimator runs: those that stay frozen (``frozen``, ``features``,
``pooling``) and those that train (``freezing``). ``registration`` adds networks of the user's own.
"""
