"""Digital head and multi-echo signal simulation, written as a BIDS dataset."""

from .dataset import write_dataset
from .head import Head, simulate_head
from .signal import simulate_signal

__all__ = ["Head", "simulate_head", "simulate_signal", "write_dataset"]
