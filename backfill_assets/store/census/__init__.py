"""The census: how many bars each symbol has in each month, kept up by triggers and folded in the background."""
