"""Common and salient separation (Louiset et al., ICLR 2024)."""
