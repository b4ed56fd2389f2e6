"""Blocks used by more than one room: encoders, projectors, prototypes, decoders."""
