"""What a SavedModel says of itself, for who serves it or scores with it."""
