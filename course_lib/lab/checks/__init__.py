"""One module of checkers per lesson; `core` holds what they share."""
