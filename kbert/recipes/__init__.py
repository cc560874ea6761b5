"""Pretraining by a recipe, from raw text to a preset."""
