"""YAML text to a checked tree to built objects; imports no torch."""
