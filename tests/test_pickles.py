"""A pickle of an estimator shows all that it holds, and an estimator opens no hidden one."""

import pickle
import pickletools
import tempfile

import numpy as np
import pytest

from sktransfer import adapt_batch_norm, load, save
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

pytestmark = [
    pytest.mark.filterwarnings("ignore:L-BFGS did not converge"),
    pytest.mark.filterwarnings("ignore:Fine-tuning"),
]

X, y = make_pictures(24)


def adapted(estimator):
    return adapt_batch_norm(estimator, X[::-1] // 2, n_source=0)


def reopened(estimator):
    with tempfile.TemporaryDirectory() as folder:
        save(estimator, f"{folder}/model.skt", include_backbone=True)
        return load(f"{folder}/model.skt")


FITTED = {
    "frozen": lambda: make_classifier().fit(X, y),
    "trained": lambda: make_classifier(unfreeze_depth=1, max_epochs=1).fit(X, y),
    "layers": lambda: make_classifier(hidden_layer_sizes=(4,), dropout=0.5, max_epochs=1).fit(X, y),
    "in pieces": lambda: make_classifier(optimizer="adamw").partial_fit(X, y),
    "solved in pieces": lambda: make_classifier().partial_fit(X, y),
    "averaged": lambda: make_classifier(optimizer="adamw", ema_decay=0.9, max_epochs=1).fit(X, y),
    "shorter": lambda: make_classifier(
        unfreeze_depth=1, max_epochs=1, precision="bfloat16", engine="torch"
    ).fit(X, y),
    "several labels": lambda: make_classifier(loss="binary_cross_entropy").fit(
        X, np.eye(2, dtype=int)[y]
    ),
    "extractor": lambda: make_extractor().fit(X),
    "adapted": lambda: adapted(make_classifier().fit(X, y)),
    "adapted extractor": lambda: adapted(make_extractor().fit(X)),
    "of a whole model file": lambda: reopened(adapted(make_extractor().fit(X))),
}


def outputs(estimator):
    return getattr(estimator, "predict_proba", getattr(estimator, "transform", None))(X)


@pytest.mark.parametrize("name", FITTED)
def test_no_pickle_lies_in_the_pickle(name):
    estimator = FITTED[name]()
    pickled = pickle.dumps(estimator)
    inner = []
    for _, value, _ in pickletools.genops(pickled):
        if isinstance(value, str):
            # What torch calls to open the bytes of a tensor.
            assert "_load_from_bytes" not in value
            assert "_rebuild" not in value
        if isinstance(value, bytes | bytearray) and is_pickle(bytes(value)):
            inner.append(value)
    assert inner == []
    assert np.array_equal(outputs(pickle.loads(pickled)), outputs(estimator))


def is_pickle(value):
    """Return True for what pickle writes, and for what torch writes."""
    return (value[:1] == b"\x80" and value[-1:] == b".") or b"PK\3\4" in value


class Payload:
    """Writes a file where it is opened."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


@pytest.fixture
def with_payload(tmp_path, monkeypatch):
    """A fitted classifier whose net gives a state as skorch does, with code in it."""
    classifier = make_classifier().fit(X, y)
    net = classifier._model.net
    state = {"device": "cpu", "torch_load_kwargs": {"weights_only": False}}
    state["__cuda_dependent_attributes__"] = pickle.dumps({"module_": Payload(tmp_path / "ran")})
    monkeypatch.setattr(type(net), "__getstate__", lambda _: state)
    return classifier, tmp_path / "ran"


def test_hidden_code_does_not_run(with_payload):
    classifier, ran = with_payload
    with pytest.raises(pickle.UnpicklingError, match=r"hide code.*Fit it again"):
        pickle.loads(pickle.dumps(classifier))
    assert not ran.exists()


def test_hidden_code_does_not_run_in_skops(with_payload):
    io = pytest.importorskip("skops.io")
    classifier, ran = with_payload
    content = io.dumps(classifier)
    with pytest.raises(pickle.UnpicklingError, match=r"hide code"):
        io.loads(content, trusted=io.get_untrusted_types(data=content))
    assert not ran.exists()
