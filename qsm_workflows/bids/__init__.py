"""The only place that knows BIDS names: index of inputs, names and sidecars of outputs."""
