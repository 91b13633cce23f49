"""Where observations go, one file a sink. pyarrow, zmq, av and cv2 come with their own sinks."""

from .base import FileSink, Recording, Sink
from .partial import PartialFile

__all__ = ["FileSink", "PartialFile", "Recording", "Sink"]
