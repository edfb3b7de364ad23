"""The command line `qsm-wf`: parsing and printing only."""
