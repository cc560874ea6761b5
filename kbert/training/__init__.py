"""From labelled rows to a trained model: settings, batches, one loop."""
