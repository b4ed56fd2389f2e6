"""Assignments without gradient: Sinkhorn, spherical k-means, banks and queues."""
