"""What a person runs: the mien command and the offline jobs."""
