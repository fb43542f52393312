"""Train a head, and as many stages as are unfrozen, on stored activations.

``recipe`` is the order of events (linear probe first, then fine-tuning); ``module`` and
``head`` are what trains, ``net`` trains it with skorch, ``batches`` feeds it,
``optimizers`` and ``probe`` drive it, ``weighting`` says what each row counts.
"""
