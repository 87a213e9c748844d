"""The intermediate representation: what every stage of a program computes and communicates."""
