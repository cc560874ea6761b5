"""From raw text to a pretrained BERT: vocabulary, corpus, objectives, runs."""
