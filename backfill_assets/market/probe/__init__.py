"""What a few requests to the vendor settle about an exchange: which are sent, and what their answers show."""
