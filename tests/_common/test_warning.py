import inspect
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktransfer._common.warning import silenced, users_line, warn, warning_at
from sktransfer.exceptions import ImageWarning, ShortTrainingWarning
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier, make_extractor

NAME = "squeezenet1_1"


def line_before():
    """Return this file and the number of the line before the call."""
    return __file__, inspect.currentframe().f_back.f_lineno - 1


def places(caught, category):
    return {(each.filename, each.lineno) for each in caught if issubclass(each.category, category)}


short = partial(make_classifier, backbone=NAME, hidden_layer_sizes=4, lr=1e-3, max_epochs=4)


@pytest.mark.parametrize("how", ["alone", "pipeline", "search"])
def test_warnings_of_training_point_at_the_line_that_calls_fit(how):
    X, y = make_pictures(16)
    model = short()
    if how == "pipeline":
        model = make_pipeline(model)
    elif how == "search":
        model = GridSearchCV(model, {"dropout": [0.0, 0.1]}, cv=2, refit=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
        line = line_before()
    assert places(caught, ShortTrainingWarning) == {line}


def test_warnings_of_reading_threads_point_at_the_line_that_calls_transform(tmp_path):
    paths = []
    # Values of 12 bits in 16-bit files: decoding these warns, in the reading threads.
    for i in range(3):
        pixels = np.full((32, 32), 4000 + i, np.uint16)
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(pixels).save(paths[-1])
    extractor = make_extractor(backbone=NAME, n_jobs=3).fit(paths)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        extractor.transform(paths)
        line = line_before()
    assert places(caught, ImageWarning) == {line}


def test_a_line_is_told_once_by_pythons_own_rule():
    def emit():
        warn("the same", ImageWarning)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            emit()
    assert len(caught) == 1


def test_a_thread_has_the_line_that_it_was_given_for_as_long():
    lines = []
    given = users_line()

    def work():
        with warning_at(given), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn("in a thread", ImageWarning)
        lines.append((caught[0].filename, caught[0].lineno))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert lines == [(given.filename, given.lineno)]
    assert given.filename == __file__


def test_libraries_outside_of_this_interpreters_folders_are_not_the_users(tmp_path):
    folder = tmp_path / "lib" / "dist-packages"
    folder.mkdir(parents=True)
    path = folder / "other_library.py"
    path.write_text("def call(function):\n    function()\n")
    names = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names["call"](lambda: warn("through a library", ImageWarning))
        line = line_before()
    assert places(caught, ImageWarning) == {line}


def test_code_that_calls_the_library_is_left_as_it_is_where_nothing_warns():
    names = {"users_line": users_line}
    exec("line = users_line()", names)
    assert "__warningregistry__" not in names


def test_silence_is_of_one_thread_and_ends():
    before = list(warnings.filters)
    with silenced():
        warn("unheard", UserWarning)
        with silenced():
            pass
        warn("unheard", UserWarning)  # the inner block does not end the outer one
        with ThreadPoolExecutor(1) as pool, pytest.warns(UserWarning, match="heard elsewhere"):
            pool.submit(warn, "heard elsewhere", UserWarning).result()
        assert warnings.filters[-len(before) :] == before
    with pytest.warns(UserWarning, match="heard again"):
        warn("heard again", UserWarning)
