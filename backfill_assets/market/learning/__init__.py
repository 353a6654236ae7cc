"""What the rows and daily data of experimental exchanges show, and which settings follow from it."""
