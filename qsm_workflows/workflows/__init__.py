"""Graph factories `init_*_wf` and the configuration they take."""
