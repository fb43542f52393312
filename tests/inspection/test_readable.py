from sktransfer.images.sources import as_images
from sktransfer.inspection.readable import readable_rows
from tests.conftest import make_pictures, save_pictures


def test_each_picture_is_tried(tmp_path):
    paths = save_pictures(make_pictures(4)[0], tmp_path)
    (tmp_path / "picture_1.png").write_bytes(b"no picture")
    (tmp_path / "picture_2.png").unlink()
    assert readable_rows(as_images(paths)).tolist() == [True, False, False, True]
