"""Train a head, and the unfrozen stages with it, on stored activations.

``train`` is the order of the phases, told by ``settings`` how and by ``data`` what to train:
``solve_head`` solves the convex problem (by ``lbfgs``), ``first_head`` makes the head that
gradient descent begins with, ``descend`` trains head and stages. ``net`` is the skorch net of
every phase, ``module`` and ``head`` what it trains, ``batches`` what it is fed, ``losses`` what it
minimises, and ``task`` says what its scores mean.
"""
