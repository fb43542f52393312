"""Factories of small estimators, which are fitted in a fraction of a second, for all tests.

A file that needs other defaults sets them with `functools.partial`.
"""

from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier

# Its ImageNet weights come with the test dependencies. All other networks have random weights,
# because theirs would have to be downloaded.
LITE0 = "efficientnet_lite0"


def make_classifier(**parameters):
    """Make a classifier on mnasnet0_5, or on another `backbone`."""
    return PretrainedImageClassifier(**_defaults(parameters), **{"random_state": 0, **parameters})


def make_extractor(**parameters):
    """Make an extractor on mnasnet0_5, or on another `backbone`."""
    return PretrainedFeatureExtractor(**_defaults(parameters), **parameters)


def _defaults(given):
    """Return the defaults of both estimators, without the parameters that are given."""
    weights = "DEFAULT" if given.get("backbone") == LITE0 else None
    defaults = {"backbone": "mnasnet0_5", "weights": weights, "image_size": 32, "device": "cpu"}
    return {name: value for name, value in defaults.items() if name not in given}
