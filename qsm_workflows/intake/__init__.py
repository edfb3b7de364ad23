"""From what the scanner gave, NIfTI or DICOM, to a raw BIDS dataset."""
