"""The outputs of frozen stages: engines that compute them, the store that keeps them.

``streaming`` is one pass over the pictures. It asks the store what is there already, has
the rest read and computed, and puts all of it into ``results``; ``memory`` makes room for
the activations of a whole set.
"""
