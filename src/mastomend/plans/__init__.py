"""Pure decisions: findings, policy and clock in, actions out."""
