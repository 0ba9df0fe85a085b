"""One module of interactive figures per lesson; `frames` holds what they share."""
