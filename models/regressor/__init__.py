"""The light network that regresses the face parameters, and its training."""
