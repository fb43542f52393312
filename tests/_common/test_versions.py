from importlib.metadata import PackageNotFoundError, version

import pytest

from sktransfer import export, load, report, save
from sktransfer._common import versions
from sktransfer._common.versions import installed_version
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier


def test_versions():
    assert installed_version("numpy") == version("numpy")
    assert installed_version("no-such-package") == ""


@pytest.fixture
def not_installed(monkeypatch):
    """Python as it is in a folder with this package that was never installed."""

    def only_of_others(package):
        if package == "sktransfer":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(versions, "version", only_of_others)


@pytest.mark.usefixtures("not_installed")
def test_a_package_that_is_not_installed_works_as_well(tmp_path):
    X, y = make_pictures(16)
    classifier = make_classifier(backbone="squeezenet1_1").fit(X, y)
    save(classifier, tmp_path / "model.skt")
    assert (load(tmp_path / "model.skt").predict(X) == classifier.predict(X)).all()
    export(classifier, tmp_path / "model.pt2")
    report(classifier, X, y)
