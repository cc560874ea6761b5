"""Tokenizers inside the graph: vocabulary, normalization, windows, casing."""
