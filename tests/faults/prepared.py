"""What the process that all children are forked from has imported; see `children`."""

import joblib  # noqa: F401
import torch

import sktransfer  # noqa: F401
from tests import small_estimators  # noqa: F401

torch.set_num_threads(1)  # more of them would not survive a fork
