"""Why bars are absent: what the vendor's daily data say, and which symbols it does not serve."""
