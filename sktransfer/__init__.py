"""sktransfer."""
