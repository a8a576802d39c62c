"""What goes to the model with a message: texts of files, and of a pipe."""
