"""Solutions of the exercises, one module per lesson, as the notebooks quote them."""
