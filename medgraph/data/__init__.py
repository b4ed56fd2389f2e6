"""Reading, deterministic preparation, splitting and loading."""
