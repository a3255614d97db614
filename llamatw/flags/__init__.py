"""The flags of `twistd llama`: what there are, what each takes, and how words and environment become values."""
