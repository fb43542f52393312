import pytest
from PIL import Image

from sktransfer.exceptions import ImageError, ImageWarning
from sktransfer.images.decoding import decode_file
from sktransfer.images.folders import list_class_folders


@pytest.fixture
def make(tmp_path):
    """Create empty files in a folder; listing does not open files with a known extension."""

    def make_files(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make_files


def listed(folder):
    files, labels, classes = list_class_folders(folder)
    return [file.relative_to(folder).as_posix() for file in files], labels, classes


def test_files_labels_and_classes(make):
    folder = make("bee/2.png", "ant/1.jpg", "bee/1.webp")
    assert listed(folder) == (
        ["ant/1.jpg", "bee/1.webp", "bee/2.png"],
        ["ant", "bee", "bee"],
        ["ant", "bee"],
    )


@pytest.mark.parametrize(
    "names",
    [
        ["img1.png", "img2.png", "img10.png", "img20.png", "img100.png"],
        ["9.png", "10.png", "a.png", "b.png"],
        ["A1.png", "a2.png", "A10.png", "b1.png"],
        ["1.2.png", "1.10.png", "2.1.png"],
        ["ä1.png", "ä2.png", "ä10.png"],
        ["x1²2.png", "x1²3.png", "x1²10.png"],  # str.isdigit is true for "²", but int rejects it
    ],
)
def test_natural_order_of_files(make, names):
    folder = make(*(f"a/{name}" for name in reversed(names)))
    assert listed(folder)[0] == [f"a/{name}" for name in names]


def test_natural_order_of_classes(make):
    folder = make("class10/a.png", "class9/a.png", "class100/a.png", "Class1/a.png")
    assert listed(folder)[2] == ["Class1", "class9", "class10", "class100"]


def test_names_that_differ_in_zeros_or_case_have_one_order(make):
    names = ["a/1.png", "a/01.png", "a/001.png", "a/X.png", "a/x.png"]
    first = listed(make(*names))
    assert sorted(first[0]) == sorted(names)
    assert first[0] == ["a/001.png", "a/01.png", "a/1.png", "a/X.png", "a/x.png"]


def test_nested_folders_count_for_their_class(make):
    folder = make("ant/2019/b/1.png", "ant/2019/a/1.png", "ant/1.png", "bee/deep/er/1.png")
    files, labels, classes = listed(folder)
    assert files == ["ant/1.png", "ant/2019/a/1.png", "ant/2019/b/1.png", "bee/deep/er/1.png"]
    assert labels == ["ant"] * 3 + ["bee"]
    assert classes == ["ant", "bee"]


def test_hidden_files_and_folders_are_ignored(make):
    folder = make(
        "ant/1.png", "ant/._1.png", "ant/.cache/2.png", "ant/a/.b/c/3.png", ".git/4.png", ".5.png"
    )
    assert listed(folder) == (["ant/1.png"], ["ant"], ["ant"])


def test_hidden_parent_folder_does_not_matter(make):
    folder = make(".data/ant/1.png") / ".data"
    assert listed(folder)[0] == ["ant/1.png"]


def test_other_files_are_ignored(make):
    folder = make("ant/1.png", "ant/notes.txt", "ant/png", "ant/2.svg", "ant/2.npy", "labels.csv")
    assert listed(folder)[0] == ["ant/1.png"]


def test_pictures_outside_class_folders_are_ignored(make):
    assert listed(make("1.png", "ant/2.png"))[0] == ["ant/2.png"]


@pytest.mark.parametrize(
    "suffix",
    ["jpg", "JPG", "jpeg", "jfif", "jpe", "png", "Png", "webp", "gif", "bmp", "tif", "TIFF"],
)
def test_every_extension_in_any_case(make, suffix):
    assert listed(make(f"ant/1.{suffix}"))[0] == [f"ant/1.{suffix}"]


def test_folder_named_like_a_picture_is_no_picture(make):
    folder = make("ant/1.png")
    (folder / "ant" / "2.png").mkdir()
    assert listed(folder)[0] == ["ant/1.png"]


def test_class_folder_without_pictures_warns_and_is_left_out(make):
    folder = make("ant/1.png", "bee/notes.txt")
    with pytest.warns(ImageWarning, match=r"bee' holds no picture"):
        assert listed(folder) == (["ant/1.png"], ["ant"], ["ant"])


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("self", "."),
        ("ant/up", "."),
        ("ant/deep/loop", "ant"),
        ("emmet", "ant"),
        ("bee/too", "ant/deep"),
        ("up", ".."),
    ],
)
def test_folder_that_links_make_count_twice_is_an_error(make, link, target):
    folder = make("photos/ant/1.png", "photos/ant/deep/2.png", "photos/bee/3.png") / "photos"
    (folder / link).symlink_to(folder / target)
    with pytest.raises(ImageError, match=r"is the same folder as .* Remove the link"):
        list_class_folders(folder)


def test_link_to_itself_leads_nowhere_and_is_ignored(make):
    folder = make("ant/1.png")
    (folder / "ant" / "self").symlink_to(folder / "ant" / "self")
    assert listed(folder)[0] == ["ant/1.png"]


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO"])
@pytest.mark.parametrize("name", ["1", "1.0", "1.picture"])
def test_other_names_count_by_their_content(make, format_name, name):
    folder = make("ant/0.png", "ant/notes")
    path = folder / "ant" / name
    Image.new("RGB", (3, 3)).save(path, format_name)
    decode_file(path)  # only raw files of cameras can be decoded but are not listed
    expected = (
        ["ant/0.png"] if format_name == "TIFF" and "." in name else ["ant/0.png", f"ant/{name}"]
    )
    assert listed(folder)[0] == expected


def test_text_that_begins_like_a_bitmap_is_none(make):
    folder = make("ant/0.png")
    (folder / "ant" / "BMW").write_text("BMW builds cars and motorcycles")
    (folder / "ant" / "notes").write_text("RIFF, GIF and PNG are formats")
    assert listed(folder)[0] == ["ant/0.png"]


def test_linked_files_and_class_folders_count(make, tmp_path_factory):
    folder, elsewhere = make("ant/1.png"), tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "3.png").touch()
    (folder / "ant" / "2.png").symlink_to(folder / "ant" / "1.png")
    (folder / "bee").symlink_to(elsewhere)
    (elsewhere / "more").symlink_to(tmp_path_factory.mktemp("further"))
    (elsewhere / "more" / "4.png").touch()
    assert listed(folder)[0] == ["ant/1.png", "ant/2.png", "bee/3.png", "bee/more/4.png"]


def test_missing_folder_raises(tmp_path):
    with pytest.raises(ImageError, match=r"nothing' does not exist"):
        list_class_folders(tmp_path / "nothing")


def test_file_raises(make):
    with pytest.raises(ImageError, match="is not a folder"):
        list_class_folders(make("1.png") / "1.png")


@pytest.mark.parametrize("names", [[], ["1.png"], [".hidden/1.png"]])
def test_folder_without_class_folders_raises(make, names):
    with pytest.raises(ImageError, match=r"No picture found .*one subfolder per class.*\.webp"):
        list_class_folders(make(*names))


def test_only_empty_class_folders_warn_and_raise(make):
    with (
        pytest.warns(ImageWarning, match="no picture"),
        pytest.raises(ImageError, match="No picture found"),
    ):
        list_class_folders(make("ant/notes.txt"))


def test_pictures_that_are_not_read_are_told(make):
    folder = make("bee/1.png", "bee/IMG_2.HEIC", "ant/1.jpg", "ant/notes.txt")
    (folder / "ant" / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    with pytest.warns(ImageWarning, match=r"2 files .* are left out, such as .*gone\.jpg"):
        files, _, _ = listed(folder)
    assert files == ["ant/1.jpg", "bee/1.png"]


@pytest.mark.parametrize("parts", [("train", "val"), ("Train", "Validation", "test")])
def test_the_parts_of_a_data_set_are_no_classes(make, parts):
    folder = make(*(f"{part}/{name}/1.png" for part in parts for name in ("ant", "bee")))
    with pytest.warns(ImageWarning, match="names of the parts of a data set"):
        assert set(listed(folder)[1]) == set(parts)
    assert listed(folder / parts[0])[2] == ["ant", "bee"]


@pytest.mark.parametrize("names", [("test",), ("test", "ant"), ("train", "bus")])
def test_classes_may_be_named_like_parts(make, names):
    assert listed(make(*(f"{name}/1.png" for name in names)))[2] == sorted(names)
