import numpy as np

from sktransfer.inspection.reporting.heat import heated

PICTURE = np.full((8, 12, 3), (40, 80, 120), np.uint8)


def test_the_map_is_red_on_grey():
    heat = np.zeros((8, 12), np.float32)
    heat[2, 3] = 1
    marked = heated(PICTURE, heat)
    assert marked[0, 0].tolist() == [80, 80, 80]
    red, green, blue = marked[2, 3].astype(int)
    assert red > 150
    assert green == blue < 80


def test_what_was_not_seen_is_pale():
    heat = np.zeros((8, 12), np.float32)
    heat[:, :2] = np.nan
    marked = heated(PICTURE, heat)
    assert (marked[:, :2] > 200).all()
    assert (marked[:, 2:] == 80).all()


def test_maps_of_another_size_are_resized():
    heat = np.zeros((16, 24), np.float32)
    heat[:, :4] = np.nan
    heat[8:, 12:] = 1
    marked = heated(PICTURE, heat)
    assert marked.shape == PICTURE.shape
    assert (marked[:, :2] > 200).all()
    assert marked[7, 11, 0] > 150
    assert marked[0, 11].tolist() == [80, 80, 80]
