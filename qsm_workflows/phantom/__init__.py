"""Digital head and multi-echo signal simulation, written as a BIDS dataset."""
