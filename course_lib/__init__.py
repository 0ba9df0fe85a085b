"""The library of the course From Bytes to Reasoning. Its folders are the course's table of
contents."""
