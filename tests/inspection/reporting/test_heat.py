import numpy as np

from sktransfer.inspection.displays.gallery import VEIL
from sktransfer.inspection.reporting.heat import heated

PICTURE = np.full((12, 16, 3), (40, 80, 200), np.uint8)
ORANGE = [255, 176, 0]
DARK = np.round(np.array([40, 80, 200]) * (1 - VEIL)).tolist()


def test_what_counts_stays_bright_within_a_line():
    heat = np.zeros((12, 16), np.float32)
    heat[3:9, 4:12] = 1
    marked = heated(PICTURE, heat)
    assert marked[0, 0].tolist() == DARK
    assert marked[5, 8].tolist() == [40, 80, 200]
    assert marked[3, 8].tolist() == marked[8, 11].tolist() == ORANGE


def test_the_line_does_not_run_along_the_edge():
    heat = np.zeros((12, 16), np.float32)
    heat[:, :8] = 1
    marked = heated(PICTURE, heat)
    assert marked[0, 3].tolist() == [40, 80, 200]
    assert marked[0, 7].tolist() == ORANGE


def test_a_map_of_nothing_has_no_line():
    marked = heated(PICTURE, np.zeros((12, 16), np.float32))
    assert (marked == DARK).all()


def test_what_was_not_seen_is_pale():
    heat = np.ones((12, 16), np.float32)
    heat[:, :2] = np.nan
    marked = heated(PICTURE, heat)
    assert (marked[:, :2] > 180).all()
    assert marked[5, 8].tolist() == [40, 80, 200]


def test_maps_of_another_size_are_resized():
    heat = np.zeros((24, 32), np.float32)
    heat[:, :4] = np.nan
    heat[12:, 20:] = 1
    marked = heated(PICTURE, heat)
    assert marked.shape == PICTURE.shape
    assert (marked[:, :2] > 180).all()
    assert marked[11, 15].tolist() == [40, 80, 200]
    assert marked[0, 15].tolist() == DARK
