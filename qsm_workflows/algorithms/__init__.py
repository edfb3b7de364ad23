"""Pure functions on arrays: no files, no Nipype, no BIDS."""
