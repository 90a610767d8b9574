"""Language models from counting to transformers, side by side."""
