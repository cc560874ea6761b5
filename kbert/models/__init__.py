"""The backbone, its layers, and how tokens lie in memory."""
