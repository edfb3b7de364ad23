"""Training of networks: label volumes, patches and the training loop."""
