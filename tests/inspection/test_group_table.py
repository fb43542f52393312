import numpy as np

from sktransfer.inspection.group_table import as_text
from sktransfer.inspection.groups import group_metrics


def table(groups, **options):
    """Metrics of groups of cats and dogs, three quarters of them classified correctly."""
    n = len(groups)
    true, predicted = np.resize(["cat", "dog"], n), np.resize(["cat", "dog", "cat", "cat"], n)
    return group_metrics(true, predicted, groups, **options)


def test_a_frame_has_a_row_for_each_metric_and_group():
    found = table(["a"] * 20 + ["b"] * 20, metrics=["accuracy", "recall"])
    frame = found.to_frame()
    assert len(frame) == 3 * 2
    assert frame.loc[0, ["metric", "group", "rows"]].tolist() == ["accuracy", "a", 20]
    recall = frame[(frame["metric"] == "recall (dog)") & (frame["group"] == "b")]
    assert recall["value"].item() == 0.5
    assert recall["low"].item() == found.low[1, 2]


def test_small_groups_are_marked_and_explained():
    text = repr(table(["a"] * 20 + ["b"] * 20 + ["few"] * 4 + [None] * 4))
    assert "few*" in text
    assert "(missing)*" in text
    assert "Too few rows" in text
    assert "Too few rows" not in repr(table(["a"] * 20 + ["b"] * 20))


def test_what_has_no_value_is_explained():
    found = group_metrics(["cat"] * 2 + ["dog"], ["cat"] * 3, ["a", "a", "b"], ["recall"])
    assert "-: the group has no pictures" in repr(found)
    assert as_text(float("nan")) == "-"
    assert as_text(0.12345) == "0.123"
