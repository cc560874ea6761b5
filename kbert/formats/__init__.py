"""One file of tensors, whatever the model: how it is read and written."""
