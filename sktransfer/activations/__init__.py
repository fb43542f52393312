"""The outputs of frozen stages: engines that compute them, the store that keeps them.

``streaming`` makes one pass over the pictures: it looks up activations in ``store``, has an
engine of ``engines`` compute the others, and collects all in ``results``. ``memory`` makes
room for the activations of a whole set, ``views`` gives each epoch its own, and ``augmented``
computes those of augmented pictures.
"""
