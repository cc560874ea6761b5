"""Files of weights: how they are read and written, and BERT's names in each."""
