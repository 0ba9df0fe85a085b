"""What only notebooks need: checks, interactive figures, plots, quizzes, progress and the course
map."""
