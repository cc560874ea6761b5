"""Batch scoring: files of texts through an exported SavedModel, by parts."""
