"""Export: one SavedModel that takes raw strings, checked and warmed up."""
