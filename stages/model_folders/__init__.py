"""Model folders that come from outside: what they hold is told and judged before their weights are copied."""
