"""MEOW and AdaMEOW on heterogeneous graphs (Yu et al., SDM 2023, TKDE 2024)."""
