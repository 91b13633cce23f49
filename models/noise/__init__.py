"""The noise of real cameras."""
