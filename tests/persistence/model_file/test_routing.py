import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from sktransfer.exceptions import ModelFileError
from sktransfer.persistence.model_file.routing import requests_of, set_requests


@pytest.fixture(autouse=True)
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_requests_come_back():
    given = LogisticRegression().set_fit_request(sample_weight="w")
    given.set_score_request(sample_weight=False)
    requests = requests_of(given._metadata_request)
    assert requests == {"fit": {"sample_weight": "w"}, "score": {"sample_weight": False}}
    found = LogisticRegression()
    set_requests(found, requests)
    assert requests_of(found._metadata_request) == requests


def test_a_default_that_was_taken_back():
    given = GroupKFold(2).set_split_request(groups=None)
    found = GroupKFold(2)
    set_requests(found, requests_of(given._metadata_request))
    assert found.get_metadata_routing().split.requests == {"groups": None}


@pytest.mark.parametrize(
    "requests",
    [
        {"fit": {"other": True}},
        {"fit": {"sample_weight": 3}},
        {"fit": ["sample_weight"]},
        {"params": {"sample_weight": True}},
        {"split": {"groups": True}},
        [],
    ],
    ids=str,
)
def test_requests_that_nobody_makes(requests):
    with pytest.raises(ModelFileError):
        set_requests(LogisticRegression(), requests)
