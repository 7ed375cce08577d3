"""What `mix_samples` is made of: samples that are held out, samples weighed in tokens, what was drawn."""
