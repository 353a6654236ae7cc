"""Reading corporate actions from the vendor, and what the bars and the daily data say of them."""
