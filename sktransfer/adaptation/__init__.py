"""Fit an estimator to pictures of another domain, without labels."""

from sktransfer.adaptation.batch_norm import adapt_batch_norm

__all__ = ["adapt_batch_norm"]
