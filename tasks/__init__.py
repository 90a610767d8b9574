"""What is done, one folder per lifecycle stage."""
