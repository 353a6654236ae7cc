"""SQL of corporate actions: what the vendor lists, and what it listed before."""
