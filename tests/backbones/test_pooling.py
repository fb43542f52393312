import re

import pytest
import torch

from sktransfer.backbones.pooling import OF_CLASS_TOKEN, POOLINGS, Pool
from sktransfer.exceptions import BackboneError

MAP = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[-4.0, 0.0], [-8.0, -8.0]]]])  # (1, 2, 2, 2)
PATCHES = torch.tensor([[[1.0, 5.0], [3.0, -7.0], [0.0, 0.0], [4.0, -2.0]]])
OF_ALL = torch.tensor([[[100.0, -100.0], [50.0, 50.0]]])
TOKENS = torch.cat([OF_ALL[:, :1], PATCHES], dim=1)  # the class token first
WITH_REGISTER = torch.cat([OF_ALL, PATCHES], dim=1)


@pytest.mark.parametrize(
    ("how", "x", "features"),
    [
        ("avg", MAP, [3.0, -5.0]),
        ("max", MAP, [6.0, 0.0]),
        ("flatten", MAP, [1.0, 2, 3, 6, -4, 0, -8, -8]),
        ("avg", TOKENS, [2.0, -1.0]),
        ("max", TOKENS, [4.0, 5.0]),
        ("flatten", TOKENS, [100.0, -100, 1, 5, 3, -7, 0, 0, 4, -2]),
        ("cls", TOKENS, [100.0, -100]),
        ("cls+avg", TOKENS, [100.0, -100, 2, -1]),
        ("avg", WITH_REGISTER, [2.0, -1.0]),
        ("cls+avg", WITH_REGISTER, [100.0, -100, 2, -1]),
        ("avg", PATCHES, [2.0, -1.0]),
    ],
)
def test_by_hand(how, x, features):
    assert Pool(how)(x).tolist() == [features]


@pytest.mark.parametrize("how", ["avg", "max", "flatten"])
def test_a_row_stays_as_it_is(how):
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(Pool(how)(x), x)


@pytest.mark.parametrize("how", ["avg", "max", "flatten"])
def test_order_of_memory_changes_nothing(how):
    x = torch.randn(2, 3, 4, 5)
    channels_last = x.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(Pool(how)(channels_last), Pool(how)(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["avg", "max", "flatten"])
def test_pictures_do_not_mix(how):
    x = torch.randn(3, 2, 4, 4)
    alone = torch.cat([Pool(how)(picture[None]) for picture in x])
    assert torch.allclose(Pool(how)(x), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", OF_CLASS_TOKEN)
def test_tokens_without_one_for_all(how):
    with pytest.raises(BackboneError, match=f"'{re.escape(how)}' needs a class token"):
        Pool(how)(PATCHES)


def test_names():
    assert POOLINGS == ("native", "avg", "max", "flatten", "cls", "cls+avg")
    assert "max" in repr(Pool("max"))
