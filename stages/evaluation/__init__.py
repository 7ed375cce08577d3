"""What `evaluate` is made of: questions, answers, scores, the blind control and the contact sheet."""
