"""How examples become views: draw a record, apply it."""
