"""Corporate actions: what splits, dividends and spin-offs do to prices and volumes. Pure."""
