"""The eyes' network: lids and gaze from two small views of the eyes themselves."""
