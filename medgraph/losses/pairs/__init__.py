"""The engine room: two reductions of a virtual pairwise matrix that is never stored."""
