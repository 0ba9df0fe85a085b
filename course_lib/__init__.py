"""The library of the course From Bytes to Reasoning; its folders are the table of contents."""
