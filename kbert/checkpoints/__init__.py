"""Pretrained models: where a folder comes from, and what its files make up."""
