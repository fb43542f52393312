import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut, RepeatedStratifiedKFold

from sktransfer.exceptions import ParameterError
from sktransfer.images.sources import as_images
from sktransfer.ranking.folds import corrected_error, folds_of
from sktransfer.selection.pictures import LabelledPictures

N = 24
Y = np.arange(N) % 3


def sample_of(y=Y, n=N, items=None):
    images = as_images(np.zeros((len(y), 4, 4, 3), np.uint8) if items is None else items)
    whole = LabelledPictures(images, y, np.ones(len(y)), np.arange(len(y)), None)
    return whole.sample(n, seed=0)


def as_lists(folds):
    return [(learned.tolist(), held_out.tolist()) for learned, held_out in folds]


@pytest.mark.parametrize(("cv", "n"), [(None, 5), (3, 3), (np.int64(4), 4)])
def test_folds_are_drawn_twice(cv, n):
    folds = folds_of(cv, sample_of(), N)
    assert len(folds) == 2 * n
    for half in (folds[:n], folds[n:]):
        held_out = np.concatenate([part for _, part in half])
        assert sorted(held_out) == list(range(N))
    assert as_lists(folds[:n]) != as_lists(folds[n:])


def test_few_pictures_make_fewer_folds_unless_a_number_is_given():
    few = sample_of(np.array([0, 0, 0, 1]))
    assert len(folds_of(None, few, 4)) == 6
    with pytest.raises(ParameterError, match=r"cv=4 is too many.*at most cv=3"):
        folds_of(4, few, 4)
    with pytest.raises(ParameterError, match="cv=None is too many"):
        folds_of(None, sample_of(np.array([0, 1])), 2)
    with pytest.raises(ParameterError, match="cv=1 makes no folds"):
        folds_of(1, few, 4)


def test_copies_of_a_picture_are_in_one_fold():
    pictures = [np.full((4, 4, 3), i, np.uint8) for i in range(12)]
    sample = sample_of(np.repeat(np.arange(12) % 2, 2), items=[p for p in pictures for _ in "ab"])
    for learned, held_out in folds_of(3, sample, 24):
        assert not set(learned // 2) & set(held_out // 2)


def test_a_splitter_splits_the_rows_that_are_used():
    sample = sample_of(n=15)
    folds = folds_of(RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=0), sample, N)
    assert len(folds) == 15
    assert max(max(part) for fold in folds for part in fold) == 14


def test_given_splits_speak_of_all_rows():
    groups = np.arange(N) // 4
    splits = list(GroupKFold(3).split(Y, Y, groups))
    assert as_lists(folds_of(iter(splits), sample_of(), N)) == as_lists(splits)
    sample = sample_of(n=15)
    for (learned, held_out), (of_all, judged) in zip(
        folds_of(splits, sample, N), splits, strict=True
    ):
        assert set(sample.rows[learned]) == set(of_all) & set(sample.rows)
        assert set(sample.rows[held_out]) == set(judged) & set(sample.rows)


SPLITS = [(np.arange(12), np.arange(12, 24)), (np.arange(12, 24), np.arange(12))]


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (GroupKFold(3), "cv=GroupKFold.*can't split.*groups.*list\\(splitter"),
        (KFold(30), "can't split"),
        ("5", "cv must be an integer"),
        (2.5, "cv must be an integer"),
        ([1, 2], "cv must be an integer"),
        (SPLITS[:1], "gives 1 split. Give at least two"),
        ([*SPLITS, ([0, 1], [24])], "row numbers from 0 to 23"),
        ([*SPLITS, ([-1, 1], [2])], "row numbers from 0 to 23"),
        ([*SPLITS, (Y == 0, Y == 1)], "row numbers from 0 to 23"),
        ([*SPLITS, ([0, 1], [1, 2])], "must not judge by rows that they train on"),
        ([*SPLITS, ([0, 1], [])], "row numbers|none to judge by"),
    ],
)
def test_splits_that_make_no_sense(cv, message):
    with pytest.raises(ParameterError, match=message):
        folds_of(cv, sample_of(), N)


def test_given_splits_that_lose_all_their_rows():
    sample = sample_of(n=15)
    absent = np.setdiff1d(np.arange(N), sample.rows)
    with pytest.raises(ParameterError, match=r"among the 15 that are used.*max_rows=None"):
        folds_of([(sample.rows, absent)] * 2, sample, N)


def test_leave_one_out():
    assert len(folds_of(LeaveOneOut(), sample_of(), N)) == N


def test_the_standard_error_grows_by_shared_training_rows():
    folds = folds_of(5, sample_of(np.arange(50) % 2, n=50), 50)
    values = np.random.default_rng(0).normal(size=10)
    expected = np.sqrt((1 / 10 + 10 / 40) * values.var(ddof=1))
    np.testing.assert_allclose(corrected_error(values, folds), expected)
    assert corrected_error(np.full(10, 0.5), folds) == 0
