"""From texts to answers, and the folder that a model is saved in."""
