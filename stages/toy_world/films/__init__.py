"""Short films with known right answers: drawn, encoded, served with faults, asked about."""
