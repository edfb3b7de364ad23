"""Settings of torch inside a node's process."""


def set_threads(num_threads: int) -> None:
    """Keep torch to `num_threads` threads and flush denormal numbers to zero.

    Nodes run side by side, so each keeps to what it declared; denormals near the end
    of an iteration are many times slower than ordinary numbers and mean nothing here.
    """
    # Imported here: torch must not be loaded in the process that builds the graph.
    import torch

    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
