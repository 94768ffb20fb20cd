"""What should be there and what is: rows and listings as Arrow, one join, and a second look at every difference."""
