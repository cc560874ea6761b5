"""Texts and labels in any usual form: read, tokenized into tables, batched."""
