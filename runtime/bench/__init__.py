"""Speed of a model, measured, and the share of what the machine allows (roofline)."""
