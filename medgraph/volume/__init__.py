"""Joint image-volume self-supervision (Nguyen et al., AAAI 2023)."""
