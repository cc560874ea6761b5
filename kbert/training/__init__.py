"""Optimizer, schedule and callbacks for fine-tuning."""
