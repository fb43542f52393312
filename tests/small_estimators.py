"""The only factories of estimators in the tests: small networks, fitted in a fraction of a second.

Where a file needs other defaults, it makes them with `functools.partial`.
"""

from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier

# Its ImageNet weights come with the test dependencies. The weights of all other networks would be
# downloaded, so these are random.
LITE0 = "efficientnet_lite0"


def make_classifier(**parameters):
    """A classifier on mnasnet0_5, or on another `backbone`."""
    return PretrainedImageClassifier(**_defaults(parameters), **{"random_state": 0, **parameters})


def make_extractor(**parameters):
    """An extractor on mnasnet0_5, or on another `backbone`."""
    return PretrainedFeatureExtractor(**_defaults(parameters), **parameters)


def _defaults(given):
    """Defaults of both estimators, without those that are given."""
    weights = "DEFAULT" if given.get("backbone") == LITE0 else None
    defaults = {"backbone": "mnasnet0_5", "weights": weights, "image_size": 32, "device": "cpu"}
    return {name: value for name, value in defaults.items() if name not in given}
