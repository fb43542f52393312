import numpy as np
import pytest

from sktransfer.inspection.data_checks.association import Groups, association

RNG = np.random.default_rng(0)
OF_CLASS = RNG.random(400) < 0.25


def told(values, of_class=OF_CLASS):
    return association(Groups.of(values), of_class)


def test_rows_are_grouped_by_their_value():
    groups = Groups.of(["b", None, "b", "None"])
    assert groups.values == ["b", None, "None"]
    assert groups.of_rows.tolist() == [0, 1, 0, 2]


def test_a_property_that_is_the_class_removes_nearly_all_uncertainty():
    found = told([str(each) for each in OF_CLASS])
    assert 0.95 < found.share <= 1
    assert found.is_clear(0.1)
    assert found.value == "True"


@pytest.mark.parametrize("n_values", [1, 2, 20, 200, 400])
def test_a_property_that_tells_nothing_is_not_clear(n_values):
    found = told([str(v) for v in np.random.default_rng(1).integers(0, n_values, 400)])
    assert found.share < 0.01
    assert not found.is_clear(0.1)


def test_a_value_for_each_row_tells_nothing():
    """The plain mutual information would be all of the entropy."""
    assert abs(told([str(i) for i in range(400)]).share) < 0.01


def test_the_share_is_that_of_predictions_of_one_row_by_the_others():
    values = [str(v) for v in RNG.integers(0, 3, 30)]
    of_class = RNG.random(30) < 0.4
    gains = []
    for i in range(30):
        others = [j for j in range(30) if j != i]
        same = [j for j in others if values[j] == values[i]]
        prior = (sum(of_class[j] == of_class[i] for j in others) + 1) / 31
        chance = (sum(of_class[j] == of_class[i] for j in same) + 2 * prior) / (len(same) + 2)
        gains.append(np.log(chance / prior))
    p = of_class.mean()
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    found = told(values, of_class)
    assert found.share == pytest.approx(np.mean(gains) / entropy)
    assert found.error == pytest.approx(np.std(gains) / entropy / np.sqrt(30))


def test_the_value_that_speaks_for_the_class_is_named():
    values = ["odd" if each and i % 2 else None for i, each in enumerate(OF_CLASS)]
    found = told(values)
    assert found.value == "odd"
    assert 0.1 < found.share < 0.9


def test_missing_values_are_a_value():
    found = told([None if each else "there" for each in OF_CLASS])
    assert found.value is None
    assert found.is_clear(0.1)


def test_a_few_rows_are_not_clear():
    found = told(["a", "a", "b"], np.array([True, True, False]))
    assert np.isfinite(found.share)
    assert not found.is_clear(0.1)
