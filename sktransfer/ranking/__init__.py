"""Which backbone: candidates are compared by a frozen head on the user's own pictures."""

from sktransfer.ranking.rank import rank_backbones

__all__ = ["rank_backbones"]
