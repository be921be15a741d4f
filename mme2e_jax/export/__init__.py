"""Stores a trained model in one portable file: program, weights, settings, tokenizer."""
