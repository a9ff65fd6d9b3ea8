"""Family: graders of other people, faithful to their quirks, on our nouns."""
