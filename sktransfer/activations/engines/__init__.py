"""Who runs a frozen network: torch or OpenVINO, and the choice between them."""
