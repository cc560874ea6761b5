"""Where pretrained weights come from: presets, mirrors, checkpoint formats."""
