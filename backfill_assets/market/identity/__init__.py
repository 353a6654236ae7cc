"""What the daily data show about names: whether a ticker was renamed, and whether it named several instruments."""
