"""What is made of rollouts and of their advantages beside these: rewards out of success, labels, weights."""
