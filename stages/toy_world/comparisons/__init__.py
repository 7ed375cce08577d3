"""What is seen in two pictures: two scenes compared, and a room seen from two places."""
