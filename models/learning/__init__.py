"""What every training shares: its files, its budget and pace, its log, batches made ahead, ONNX."""
