import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer.inspection.reporting.blocks import Gallery, Table, Text
from sktransfer.inspection.reporting.sections.data import section
from tests.conftest import make_pictures, save_pictures
from tests.inspection.reporting.materials import material_of
from tests.small_estimators import make_classifier, make_extractor

X, y = make_pictures(24)


def of(model, X_train=X[:16], y_train=y[:16], X_test=X[16:], y_test=y[16:], *, fit=True):
    fitted = model.fit(X[:16], y[:16]) if fit else model
    return section(material_of(fitted, X_test, y_test, X_train=X_train, y_train=y_train))


def kinds(found):
    return [block.columns[0] for block in found.blocks if isinstance(block, Table)]


def texts(found):
    return " ".join(block.text for block in found.blocks if isinstance(block, Text))


def test_leaks_into_the_test_are_found_and_shown():
    found = of(make_classifier(), X_test=np.concatenate([X[16:], X[:2]]), y_test=[*y[16:], *y[:2]])
    place = [getattr(block, "columns", [""])[0] for block in found.blocks].index(
        "Copies in both X and X_test (2 errors)"
    )
    gallery = found.blocks[place + 1]
    assert isinstance(gallery, Gallery)
    assert [(picture.row, picture.lines[1]) for picture in gallery.pictures] == [
        *((0, "training"), (8, "test"), (1, "training"), (9, "test"))
    ]
    assert "16 training pictures and the 10 of the test" in texts(found)


def test_without_training_pictures_the_test_is_checked():
    found = of(make_classifier(), None, None, np.concatenate([X[16:], X[16:17]]), [*y[16:], 1])
    assert any(kind.startswith("Copies with different labels") for kind in kinds(found))
    assert "give X_train and y_train" in texts(found)


def test_features_that_saw_labels_tell_of_no_wrong_ones():
    for trained in ({"unfreeze_depth": 1}, {"hidden_layer_sizes": (4,)}):
        found = of(make_classifier(max_epochs=1, **trained))
        assert "what gave the features was trained on labels" in texts(found)
    assert "trained on labels" not in texts(of(make_classifier()))


def test_training_pictures_that_cannot_be_read_are_a_finding(tmp_path):
    paths = save_pictures(X, tmp_path)
    model = make_pipeline(make_extractor(), LogisticRegression()).fit(paths[:16], y[:16])
    (tmp_path / "picture_3.png").write_bytes(b"broken")
    found = of(model, paths[:16], y[:16], paths[16:], y[16:], fit=False)
    assert "Pictures that can't be read (1 error)" in kinds(found)


def test_classifiers_of_tables_have_nothing_to_check():
    table = np.random.default_rng(0).normal(size=(16, 3))
    found = of(LogisticRegression().fit(table, y[:16]), None, None, table, y[:16], fit=False)
    assert texts(found) == "X holds no pictures, so none were checked."


def test_pictures_are_seen_as_the_classifier_sees_them():
    five = np.concatenate([X, X[..., :2]], axis=3)
    model = make_classifier(in_channels=5).fit(five[:16], y[:16])
    found = of(model, five[:16], y[:16], five[16:], y[16:], fit=False)
    assert not any("can't be read" in kind or "Blank" in kind for kind in kinds(found))


def test_errors_are_said_at_the_top_of_the_section():
    found = of(make_classifier(), X_test=X[:8], y_test=y[:8])
    assert found.blocks[0].is_warning
    assert "8 errors in the data: copies in both x and x_test" in found.blocks[0].text


def test_rows_are_those_of_the_user(tmp_path):
    paths = save_pictures(X, tmp_path)
    model = make_classifier().fit(paths[:16], y[:16])
    pictures = [Image.fromarray(picture) for picture in X]
    test = [*pictures[16:], pictures[23]]
    (tmp_path / "picture_17.png").write_bytes(b"broken")
    test[1] = paths[17]
    found = of(model, paths[:16], y[:16], test, [*y[16:], 0], fit=False)
    tables = [block for block in found.blocks if isinstance(block, Table)]
    text = " ".join(row[0] for table in tables for row in table.rows)
    assert "row 7 of X_test" in text
    assert "row 8 of X_test" in text
