"""What needs no text and no model: files, checks, TensorFlow's start."""
