"""One conversation at one terminal: its state, answers shown while they come, what the user is asked."""
