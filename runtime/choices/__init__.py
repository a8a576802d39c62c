"""Multiple choice by log-probabilities, paired between models."""
